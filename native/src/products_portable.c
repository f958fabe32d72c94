/* SPDX-License-Identifier: Apache-2.0 */
#include "../include/edgestep.h"
#include "arithmetic.h"
#include "products.h"

#define EACH_BLOCK(p, first, block, here)                                                 \
  for (size_t first = 0, block, here; first < (p)->units &&                               \
       (block = es_block((p)->units - first),                                             \
        here = (p)->units - first < block ? (p)->units - first : block, 1); first += block)

static void f32(const es_product *p, const float *x, float *y) {
  const float *bias = p->bias;
  EACH_BLOCK(p, first, block, here) {
    const float *w = (const float *)p->weights + first * p->width;
    float sums[32];
    for (size_t u = 0; u < block; u++) sums[u] = 0;
    for (size_t k = 0; k < p->width; k++, w += block)
      for (size_t u = 0; u < block; u++) sums[u] += w[u] * x[k];
    for (size_t u = 0; u < here; u++)
      y[first + u] = es_clamp(sums[u] + bias[first + u], p->low, p->high);
  }
}

static void hybrid(const es_product *p, const float *x, float *y) {
  const float *bias = p->bias;
  EACH_BLOCK(p, first, block, here) {
    const int8_t *w = (const int8_t *)p->weights + first * p->width;
    float sums[32];
    for (size_t u = 0; u < block; u++) sums[u] = 0;
    for (size_t k = 0; k < p->width; k++, w += block)
      for (size_t u = 0; u < block; u++) sums[u] += (float)w[u] * x[k];
    for (size_t u = 0; u < here; u++)
      y[first + u] = es_clamp(sums[u] * p->scales[first + u] + bias[first + u], p->low, p->high);
  }
}

static void i8(const es_product *p, const int8_t *x, int8_t *y) {
  const int32_t *bias = p->bias;
  EACH_BLOCK(p, first, block, here) {
    const int8_t *w = (const int8_t *)p->weights + first * es_even(p->width);
    int32_t sums[32];
    for (size_t u = 0; u < block; u++) sums[u] = bias[first + u];
    for (size_t k = 0; k < p->width; k += 2, w += 2 * block) {
      int32_t even = x[k], odd = k + 1 < p->width ? x[k + 1] : 0;
      for (size_t u = 0; u < block; u++) sums[u] += w[2 * u] * even + w[2 * u + 1] * odd;
    }
    for (size_t u = 0; u < here; u++)
      y[first + u] =
          (int8_t)es_stored((float)sums[u] * p->scales[first + u], p->low, p->high, p->zero);
  }
}

static void i16(const es_product *p, const int16_t *x, int16_t *y) {
  const int64_t *bias = p->bias;
  EACH_BLOCK(p, first, block, here) {
    const int8_t *w = (const int8_t *)p->weights + first * es_even(p->width);
    int64_t sums[32];
    for (size_t u = 0; u < block; u++) sums[u] = bias[first + u];
    for (size_t k = 0; k < p->width; k += 2, w += 2 * block) {
      int32_t even = x[k], odd = k + 1 < p->width ? x[k + 1] : 0;
      for (size_t u = 0; u < block; u++) sums[u] += w[2 * u] * even + w[2 * u + 1] * odd;
    }
    for (size_t u = 0; u < here; u++)
      y[first + u] = (int16_t)(es_rint64(es_clamp64((double)sums[u] * (double)p->scales[first + u],
                                                    p->low, p->high)) +
                               p->zero);
  }
}

const es_products es_products_portable = {"portable", f32, hybrid, i8, i16};

const es_products *es_products_here(void) {
#ifdef ES_HAVE_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &es_products_avx2;
#endif
  return &es_products_portable;
}

const char *es_instruction_set(void) { return es_products_here()->name; }

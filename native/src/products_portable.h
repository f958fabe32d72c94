/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices and vectors in C for any machine, four units at a time. Integers are exact
 * here; the other instruction sets give the same bits. */
#ifndef ES_PRODUCTS_PORTABLE_H
#define ES_PRODUCTS_PORTABLE_H

#include "arithmetic.h"
#include "functions_lanes.h"
#include "products.h"

/* Units in the smallest block. */
#define ES_QUAD 4

static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = table[(uint8_t)x[i]];
}

static inline float weight_at(es_sum_kind kind, const void *w, size_t at) {
  if (kind == ES_SUM_F32) return ((const float *)w)[at];
  if (kind == ES_SUM_F16) return es_half_to_float(((const uint16_t *)w)[at]);
  return (float)((const int8_t *)w)[at];
}

/* Add a term to the sums of four units, whose block of `units` begins at unit `first`. */
static inline void real_quad(es_sum_kind kind, const es_term *t, const float *x, size_t first,
                             size_t units, size_t u, float z[ES_QUAD]) {
  static const uint8_t bytes[] = {4, 2, 1};
  const void *w = (const char *)t->weights + first * t->width * bytes[kind];
  float sums[ES_QUAD] = {0, 0, 0, 0};
  for (size_t k = 0; k < t->width; k++)
    for (size_t i = 0; i < ES_QUAD; i++) sums[i] += weight_at(kind, w, k * units + u + i) * x[k];
  for (size_t i = 0; i < ES_QUAD; i++) {
    if (kind == ES_SUM_HYBRID) sums[i] *= t->scales[first + u + i];
    z[i] += sums[i] + ((const float *)t->bias)[first + u + i];
  }
}

static inline float activated(const es_product *p, float z) {
  z = es_clamp(z, p->low, p->high);
  if (p->activation == ES_LOGISTIC) return logistic_lane(z);
  return p->activation == ES_TANH ? tanh_lane(z) : z;
}

static inline void real_products(es_sum_kind kind, const es_product *p, const void *const *x,
                                 float *y) {
  for (size_t row = 0; row < p->rows; row++)
    for (size_t first = 0, units; first < p->units; first += units) {
      units = es_block(p->units - first, ES_QUAD);
      for (size_t u = 0; u < units && first + u < p->units; u += ES_QUAD) {
        float z[ES_QUAD] = {0, 0, 0, 0};
        for (int i = 0; i < p->term_count; i++) {
          const es_term *t = &p->terms[i];
          real_quad(kind, t, (const float *)x[i] + row * t->stride, first, units, u, z);
        }
        float *to = y + row * p->stride + first + u;
        for (size_t i = 0; i < ES_QUAD && first + u + i < p->units; i++) to[i] = activated(p, z[i]);
      }
    }
}
static inline void products_f32(const es_product *p, const void *const *x, void *y) {
  real_products(ES_SUM_F32, p, x, (float *)y);
}
static inline void products_f16(const es_product *p, const void *const *x, void *y) {
  real_products(ES_SUM_F16, p, x, (float *)y);
}
static inline void products_hybrid(const es_product *p, const void *const *x, void *y) {
  real_products(ES_SUM_HYBRID, p, x, (float *)y);
}

/* Add four units' products of all inputs: sum_quad_i8(w, step, x, width, sums). The four bytes of a
 * unit's weights for four inputs stand together, those of the next four inputs `step` bytes behind.
 * A processor's own instructions for that are a file beside this one. */
#if defined(__arm__) && defined(__ARM_FEATURE_DSP) && !defined(ES_NO_DSP)
#include "products_dsp.h"
#else
static inline void sum_quad_i8(const int8_t *w, size_t step, const int8_t *x, size_t width,
                               int32_t sums[ES_QUAD]) {
  size_t k = 0;
  for (; k + 4 <= width; k += 4, w += step) {
    const int32_t a = x[k], b = x[k + 1], c = x[k + 2], d = x[k + 3];
    for (size_t i = 0; i < ES_QUAD; i++)
      sums[i] += w[4 * i] * a + w[4 * i + 1] * b + w[4 * i + 2] * c + w[4 * i + 3] * d;
  }
  for (size_t rest = 0; k < width; k++, rest++)
    for (size_t i = 0; i < ES_QUAD; i++) sums[i] += w[4 * i + rest] * x[k];
}
#endif

/* Four units of a term, in its own steps. */
static inline void steps_quad(const es_term *t, const int8_t *x, size_t first, size_t units,
                              size_t u, float steps[ES_QUAD]) {
  const int8_t *w = (const int8_t *)t->weights + first * es_up(t->width, 4) + u * 4;
  const int32_t *bias = (const int32_t *)t->bias + first + u;
  const float *scales = t->scales + first + u;
  int32_t sums[ES_QUAD] = {bias[0], bias[1], bias[2], bias[3]};
  sum_quad_i8(w, units * 4, x, t->width, sums);
  for (size_t i = 0; i < ES_QUAD; i++)
    steps[i] = es_nearest(es_clamp((float)sums[i] * scales[i], t->low, t->high));
}

static inline void products_i8(const es_product *p, const void *const *x, void *outputs) {
  const es_term *t = p->terms;
  for (size_t row = 0; row < p->rows; row++)
    for (size_t first = 0, units; first < p->units; first += units) {
      units = es_block(p->units - first, ES_QUAD);
      for (size_t u = 0; u < units && first + u < p->units; u += ES_QUAD) {
        int8_t *y = (int8_t *)outputs + row * p->stride + first + u;
        float z[ES_QUAD], other[ES_QUAD];
        steps_quad(t, (const int8_t *)x[0] + row * t->stride, first, units, u, z);
        if (p->term_count > 1) {
          steps_quad(t + 1, (const int8_t *)x[1] + row * t[1].stride, first, units, u, other);
          for (size_t i = 0; i < ES_QUAD; i++)
            z[i] = es_clamp(z[i] * t[0].step + other[i] * t[1].step, p->low, p->high);
        }
        for (size_t i = 0; i < ES_QUAD && first + u + i < p->units; i++) {
          const int8_t stored = (int8_t)(es_rint(z[i]) + p->zero);
          y[i] = p->activation == ES_TABLE ? p->table[(uint8_t)stored] : stored;
        }
      }
    }
}

static inline void products_i16(const es_product *p, const void *const *inputs, void *outputs) {
  const es_term *t = p->terms;
  for (size_t row = 0; row < p->rows; row++)
    for (size_t first = 0, units; first < p->units; first += units) {
      const int8_t *w = (const int8_t *)t->weights + first * es_up(t->width, 2);
      const int16_t *x = (const int16_t *)inputs[0] + row * t->stride;
      int16_t *y = (int16_t *)outputs + row * p->stride + first;
      units = es_block(p->units - first, ES_QUAD);
      for (size_t u = 0; u < units && first + u < p->units; u++) {
        int64_t sum = ((const int64_t *)t->bias)[first + u];
        for (size_t k = 0; k < t->width; k++) sum += w[k / 2 * units * 2 + u * 2 + k % 2] * x[k];
        y[u] = (int16_t)(es_rint64(es_clamp64((double)sum * (double)t->scales[first + u],
                                              (double)p->low, (double)p->high)) +
                         p->zero);
      }
    }
}
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* C for any machine. Integers are exact here; the other files give the same bits. */
#include "instruction_set.h"

#include "functions_lanes.h"

#include <string.h>

#define BLOCK 4
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = table[(uint8_t)x[i]];
}

static float weight_at(es_sum_kind kind, const void *w, size_t at) {
  if (kind == ES_SUM_F32) return ((const float *)w)[at];
  if (kind == ES_SUM_F16) return es_half_to_float(((const uint16_t *)w)[at]);
  return (float)((const int8_t *)w)[at];
}

static float real_unit(es_sum_kind kind, const es_product *p, const void *const *x, size_t row,
                       size_t first, size_t units, size_t u) {
  static const uint8_t bytes[] = {4, 2, 1};
  float z = 0;
  for (int i = 0; i < p->term_count; i++) {
    const es_term *t = &p->terms[i];
    const void *w = (const char *)t->weights + first * t->width * bytes[kind];
    const float *in = (const float *)x[i] + row * t->stride;
    float sum = 0;
    for (size_t k = 0; k < t->width; k++) sum += weight_at(kind, w, k * units + u) * in[k];
    if (kind == ES_SUM_HYBRID) sum *= t->scales[first + u];
    z += sum + ((const float *)t->bias)[first + u];
  }
  z = es_clamp(z, p->low, p->high);
  return p->activation == ES_LOGISTIC ? logistic_lane(z) : p->activation == ES_TANH ? tanh_lane(z) : z;
}

static void real(es_sum_kind kind, const es_product *p, const void *const *x, float *y) {
  for (size_t row = 0; row < p->rows; row++)
    for (size_t first = 0, units; first < p->units; first += units) {
      units = es_block(p->units - first, BLOCK);
      for (size_t u = 0; u < units && first + u < p->units; u++)
        y[row * p->stride + first + u] = real_unit(kind, p, x, row, first, units, u);
    }
}
static void real_f32(const es_product *p, const void *const *x, void *y) {
  real(ES_SUM_F32, p, x, y);
}
static void real_f16(const es_product *p, const void *const *x, void *y) {
  real(ES_SUM_F16, p, x, y);
}
static void real_hybrid(const es_product *p, const void *const *x, void *y) {
  real(ES_SUM_HYBRID, p, x, y);
}

static float steps_of(const es_term *t, const int8_t *x, size_t first, size_t units, size_t u) {
  const int8_t *w = (const int8_t *)t->weights + first * es_up(t->width, 4);
  int32_t sum = ((const int32_t *)t->bias)[first + u];
  for (size_t k = 0; k < t->width; k++) sum += w[k / 4 * units * 4 + u * 4 + k % 4] * x[k];
  return (float)es_rint(es_clamp((float)sum * t->scales[first + u], t->low, t->high));
}

static void integer_i8(const es_product *p, const void *const *x, void *outputs) {
  const es_term *t = p->terms;
  for (size_t row = 0; row < p->rows; row++)
    for (size_t first = 0, units; first < p->units; first += units) {
      int8_t *y = (int8_t *)outputs + row * p->stride + first;
      units = es_block(p->units - first, BLOCK);
      for (size_t u = 0; u < units && first + u < p->units; u++) {
        float z = steps_of(t, (const int8_t *)x[0] + row * t->stride, first, units, u);
        if (p->term_count > 1)
          z = es_clamp(z * t[0].step + steps_of(t + 1, (const int8_t *)x[1] + row * t[1].stride,
                                                first, units, u) * t[1].step,
                       p->low, p->high);
        const int8_t stored = (int8_t)(es_rint(z) + p->zero);
        y[u] = p->activation == ES_TABLE ? p->table[(uint8_t)stored] : stored;
      }
    }
}

static void integer_i16(const es_product *p, const void *const *inputs, void *outputs) {
  const es_term *t = p->terms;
  for (size_t row = 0; row < p->rows; row++)
    for (size_t first = 0, units; first < p->units; first += units) {
      const int8_t *w = (const int8_t *)t->weights + first * es_up(t->width, 2);
      const int16_t *x = (const int16_t *)inputs[0] + row * t->stride;
      int16_t *y = (int16_t *)outputs + row * p->stride + first;
      units = es_block(p->units - first, BLOCK);
      for (size_t u = 0; u < units && first + u < p->units; u++) {
        int64_t sum = ((const int64_t *)t->bias)[first + u];
        for (size_t k = 0; k < t->width; k++) sum += w[k / 2 * units * 2 + u * 2 + k % 2] * x[k];
        y[u] = (int16_t)(es_rint64(es_clamp64((double)sum * (double)t->scales[first + u],
                                              (double)p->low, (double)p->high)) +
                         p->zero);
      }
    }
}

const es_products es_products_portable = {
    BLOCK, 4, 0, true, {real_f32, real_f16, real_hybrid, integer_i8, integer_i16}, NULL, NULL};

#include "elementwise_lanes.h"

const es_instructions es_portable = {"portable", &es_products_portable, &elementwise};

/* SPDX-License-Identifier: Apache-2.0 */
/* Real values to what a step stores, and back. */
#ifndef ES_RUN_VALUES_H
#define ES_RUN_VALUES_H

#include "arithmetic.h"

#include <stdbool.h>

/* NaN and infinity are the only values whose difference from themselves is not 0. */
static inline bool es_all_finite(const float *x, size_t count) {
  float differences = 0;
  for (size_t i = 0; i < count; i++) differences += x[i] - x[i];
  return differences == 0;
}
static inline void es_take_i8(const float *x, int8_t *stored, size_t count, float scale,
                              int32_t zero) {
  const float low = (float)(-128 - zero), high = (float)(127 - zero);
  for (size_t i = 0; i < count; i++) stored[i] = (int8_t)es_stored(x[i] / scale, low, high, zero);
}
static inline void es_take_i16(const float *x, int16_t *stored, size_t count, float scale,
                               int32_t zero) {
  const float low = (float)(-32768 - zero), high = (float)(32767 - zero);
  for (size_t i = 0; i < count; i++) stored[i] = (int16_t)es_stored(x[i] / scale, low, high, zero);
}
/* Token ids. */
static inline void es_take_i32(const float *x, int32_t *stored, size_t count) {
  for (size_t i = 0; i < count; i++) stored[i] = (int32_t)x[i];
}
static inline void es_give_i8(const int8_t *stored, float *y, size_t count, float scale,
                              int32_t zero) {
  for (size_t i = 0; i < count; i++) y[i] = (float)(stored[i] - zero) * scale;
}
static inline void es_give_i16(const int16_t *stored, float *y, size_t count, float scale,
                               int32_t zero) {
  for (size_t i = 0; i < count; i++) y[i] = (float)(stored[i] - zero) * scale;
}
#endif

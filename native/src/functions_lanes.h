/* SPDX-License-Identifier: Apache-2.0 */
/* exp, tanh and the logistic function of float32, without branches: a compiler makes vectors of them.
 * They have no fused multiply-add, so that all instruction sets compute the same bits. Relative
 * error of exp below 2e-7. Coefficients are those of Cephes (S. L. Moshier). */
#ifndef ES_FUNCTIONS_LANES_H
#define ES_FUNCTIONS_LANES_H

#include "arithmetic.h"

static inline float exp_lane(float x) {
  x = es_clamp(x, -87.0f, 88.0f);
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* to the nearest whole number */
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float sum = 1.9875691500e-4f;
  sum = sum * r + 1.3981999507e-3f;
  sum = sum * r + 8.3334519073e-3f;
  sum = sum * r + 4.1665795894e-2f;
  sum = sum * r + 1.6666665459e-1f;
  sum = sum * r + 5.0000001201e-1f;
  sum = sum * r * r + r + 1.0f;
  union {
    uint32_t bits;
    float real;
  } power = {((uint32_t)es_rint(n) + 127u) << 23};
  return sum * power.real;
}

static inline float logistic_lane(float x) { return 1.0f / (1.0f + exp_lane(-x)); }

/* Near 0, 1 - 2 / (e^2x + 1) loses digits: there it is an odd polynomial. */
static inline float tanh_lane(float x) {
  const float v = es_clamp(x, -9.0f, 9.0f), square = v * v;
  const float far = 1.0f - 2.0f / (exp_lane(2.0f * v) + 1.0f);
  float near = -5.70498872745e-3f;
  near = near * square + 2.06390887954e-2f;
  near = near * square - 5.37397155531e-2f;
  near = near * square + 1.33314422036e-1f;
  near = near * square - 3.33332819422e-1f;
  near = near * square * v + v;
  return square < 0.390625f ? near : far;
}
#endif

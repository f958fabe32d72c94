/* SPDX-License-Identifier: Apache-2.0 */
/* exp, tanh and the logistic function of float32, without branches: a compiler makes vectors of them.
 * Relative
 * error of exp below 2e-7; its coefficients are those of Cephes (S. L. Moshier). */
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

/* x P(x^2) / Q(x^2), fitted to the least relative error on [-9, 9]; it is below 4e-7 in float32. */
#define TANH_P4 1.3354254364e-08f
#define TANH_P3 2.0608754669e-05f
#define TANH_P2 3.4955666352e-03f
#define TANH_P1 1.3381006957e-01f
#define TANH_P0 9.9999997930e-01f
#define TANH_Q4 7.7763818481e-07f
#define TANH_Q3 3.2856008094e-04f
#define TANH_Q2 2.5876898675e-02f
#define TANH_Q1 4.6714322511e-01f

static inline float tanh_lane(float x) {
  x = es_clamp(x, -9.0f, 9.0f);
  const float s = x * x;
  const float p = (((TANH_P4 * s + TANH_P3) * s + TANH_P2) * s + TANH_P1) * s + TANH_P0;
  const float q = (((TANH_Q4 * s + TANH_Q3) * s + TANH_Q2) * s + TANH_Q1) * s + 1.0f;
  return es_clamp(x * p / q, -1.0f, 1.0f);
}
/* Exact to the last digits where it is near 0, too: some cells divide by it. */
static inline float logistic_lane(float x) { return 1.0f / (1.0f + exp_lane(-x)); }
#endif

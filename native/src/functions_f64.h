/* SPDX-License-Identifier: Apache-2.0 */
/* Transcendental functions, written out: a libm's differ from machine to machine. */
#ifndef ES_FUNCTIONS_F64_H
#define ES_FUNCTIONS_F64_H

#include "arithmetic.h"

#include <math.h> /* INFINITY alone */
#include <string.h>

/* exp(x) = 2^n exp(r), r in [-ln 2 / 2, ln 2 / 2], by its Taylor series. */
ES_SHARED double es_exp(double x) {
  if (x > 709) x = 709;
  if (x < -708) return 0;
  int64_t n = es_rint64(x * 1.4426950408889634074);
  double r = x - (double)n * 0.69314718036912381649;
  r -= (double)n * 1.9082149292705877e-10;
  double term = 1, sum = 1;
  for (int i = 1; i < 16; i++) {
    term *= r / i;
    sum += term;
  }
  uint64_t bits = (uint64_t)(n + 1023) << 52;
  double power;
  memcpy(&power, &bits, sizeof power);
  return sum * power;
}

/* log(x) = n ln 2 + 2 artanh((m - 1) / (m + 1)), m in [1, 2). */
ES_SHARED double es_log(double x) {
  if (!(x > 0)) return -(double)INFINITY;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int64_t n = (int64_t)(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFFull) | (1023ull << 52);
  double m;
  memcpy(&m, &bits, sizeof m);
  double s = (m - 1) / (m + 1), square = s * s, power = s, sum = 0;
  for (int i = 1; i < 60; i += 2) {
    sum += power / i;
    power *= square;
  }
  return (double)n * 0.69314718055994530942 + 2 * sum;
}

/* erf(x) = 2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!, of positive terms only. */
ES_SHARED double es_erf(double x) {
  if (x < 0) return -es_erf(-x);
  if (x > 6) return 1;
  double term = x, sum = x;
  for (int i = 1; i < 200; i++) {
    term *= 2 * x * x / (2 * i + 1);
    sum += term;
  }
  return 1.12837916709551257390 * es_exp(-x * x) * sum;
}

/* Newton's method; the last rounding may differ from IEEE's square root. */
ES_SHARED double es_sqrt(double x) {
  if (!(x > 0)) return 0;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits >> 1) + (UINT64_C(1023) << 51);
  double root;
  memcpy(&root, &bits, sizeof root);
  for (int i = 0; i < 6; i++) root = 0.5 * (root + x / root);
  return root;
}

ES_SHARED float es_half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31,
           mantissa = half & 1023, bits;
  if (exponent == 31) {
    bits = sign | 0x7F800000 | mantissa << 13;
  } else if (exponent) {
    bits = sign | (exponent + 112) << 23 | mantissa << 13;
  } else {
    float value = (float)mantissa * (1.0f / 16777216);
    memcpy(&bits, &value, sizeof bits);
    bits |= sign;
  }
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
#endif

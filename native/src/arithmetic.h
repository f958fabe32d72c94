/* SPDX-License-Identifier: Apache-2.0 */
/* How integers are rounded. Everything is IEEE 754 arithmetic in a fixed order, without fused
 * multiply-adds, so all machines compute the same bits. */
#ifndef ES_ARITHMETIC_H
#define ES_ARITHMETIC_H

#include <stddef.h>
#include <stdint.h>

/* Round to the nearest, ties to even, for |value| < 2^22. */
static inline int32_t es_rint(float value) {
  union {
    float real;
    int32_t bits;
  } magic = {value + 12582912.0f};
  return magic.bits - 0x4B400000;
}
/* The same as a real value. */
static inline float es_nearest(float value) {
#if defined(__SOFTFP__) || (defined(__riscv) && !defined(__riscv_flen))
  return (float)es_rint(value); /* a conversion costs less there than a difference */
#else
  return (value + 12582912.0f) - 12582912.0f;
#endif
}
/* The same for |value| < 2^51. */
static inline int64_t es_rint64(double value) {
  union {
    double real;
    int64_t bits;
  } magic = {value + 6755399441055744.0};
  return magic.bits - INT64_C(0x4338000000000000);
}
static inline float es_clamp(float value, float low, float high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}
static inline double es_clamp64(double value, double low, double high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}
/* A real value in steps of the grid, with limits that already lack the zero point. */
static inline int32_t es_stored(float steps, float low, float high, int32_t zero_point) {
  return es_rint(es_clamp(steps, low, high)) + zero_point;
}

#ifdef ES_FIRMWARE
#define ES_SHARED static inline
#else
#define ES_SHARED
#endif
ES_SHARED double es_exp(double x);
ES_SHARED double es_log(double x);
ES_SHARED double es_erf(double x);
ES_SHARED double es_sqrt(double x);
/* A float's root as IEEE 754 has it: the processor's own where there is one. */
#if defined(__x86_64__) || defined(__aarch64__) || defined(__wasm__)
#define ES_HAS_ROOT 1
#elif defined(__ARM_FP) && (__ARM_FP & 4) /* single precision in hardware */
#define ES_HAS_ROOT 1
#elif defined(__riscv_flen)
#define ES_HAS_ROOT 1
#else
#define ES_HAS_ROOT 0
#endif
static inline float es_root(float x) {
#if defined(__GNUC__) && ES_HAS_ROOT
  return __builtin_sqrtf(x);
#else
  return (float)es_sqrt((double)x);
#endif
}
ES_SHARED float es_half_to_float(uint16_t half);
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2, FMA and F16C: Haswell, Zen and later. */
#include "instruction_set.h"

#ifdef ES_HAVE_AVX2
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#include "avx2_lanes.h"

#define SHIFT 0
#define LOWEST false
/* Inputs, and how large they are. */
typedef struct {
  __m256i sign, size;
} fours;

static inline fours four_of(int32_t bytes) {
  const __m256i x = _mm256_set1_epi32(bytes);
  return (fours){x, _mm256_abs_epi8(x)};
}
/* The instruction multiplies unsigned bytes by signed ones, so the sign goes to the weight, which
 * is -127 at the least. Two products of at most 128 * 127 fit into 16 bits. */
static inline integers dot4(integers a, const int8_t *w, fours x) {
  const __m256i signed_w = _mm256_sign_epi8(_mm256_loadu_si256((const void *)w), x.sign);
  const __m256i twos = _mm256_maddubs_epi16(x.size, signed_w);
  return a + (integers)_mm256_madd_epi16(twos, _mm256_set1_epi16(1));
}

#include "vectors.h"
#include "bytes_lanes.h"
#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_avx2 = {"avx2", &products, &elementwise};
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

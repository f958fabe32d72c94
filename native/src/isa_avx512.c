/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 with VNNI and VBMI: Ice Lake, Zen 4 and later. */
#include "instruction_set.h"

#ifdef ES_HAVE_AVX512
#define TARGET "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma,f16c"
#ifdef __clang__
#pragma clang attribute push(__attribute__((target(TARGET))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma,f16c,prefer-vector-width=512")
#endif
#include <immintrin.h>

#define LANES 16
#define ROWS 4
#define SHIFT 128
#define LOWEST true
typedef __m512 reals;
typedef __v16si integers;
typedef __m512i fours;

#define reals_of(value) _mm512_set1_ps(value)
#define integers_of(value) ((integers)_mm512_set1_epi32(value))
#define load_f32(from) _mm512_loadu_ps(from)
#define load_f16(from) _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(from)))
#define load_i8(from) \
  _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(from))))
#define times_plus(a, b, c) _mm512_fmadd_ps(a, b, c)
#define store_f32(to, from) _mm512_storeu_ps(to, from)
#define store_i32(to, from) _mm512_storeu_si512(to, (__m512i)(from))
/* Inputs are made positive: the instruction multiplies unsigned bytes by signed ones. */
#define four_of(bytes) _mm512_set1_epi32((bytes) ^ (int32_t)0x80808080)
#define dot4(a, w, x) \
  ((integers)_mm512_dpbusd_epi32((__m512i)(a), x, _mm512_loadu_si512((const void *)(w))))
#define dot2(a, w, x)                                  \
  ((integers)_mm512_dpwssd_epi32(                      \
      (__m512i)(a), _mm512_set1_epi32(x),              \
      _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(w)))))

/* The table's 256 bytes lie in four vectors. */
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  const __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64),
                c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);
  for (size_t i = 0; i < count; i += 64) {
    const __mmask64 here = count - i < 64 ? ((__mmask64)1 << (count - i)) - 1 : ~(__mmask64)0;
    const __m512i at = _mm512_maskz_loadu_epi8(here, x + i);
    const __m512i low = _mm512_permutex2var_epi8(a, at, b),
                  high = _mm512_permutex2var_epi8(c, at, d);
    _mm512_mask_storeu_epi8(y + i, here,
                            _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
  }
}

#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_avx512 = {"avx512", &products, &elementwise};
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

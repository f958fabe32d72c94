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
#define load_i32(from) ((integers)_mm512_loadu_si512(from))
#define load_wide(from) ((integers)_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(from))))
#define store_narrow(to, from) \
  _mm_storeu_si128((void *)(to), _mm512_cvtepi32_epi8((__m512i)(from)))
#define to_reals(from) _mm512_cvtepi32_ps((__m512i)(from))
#define to_integers(from) ((integers)_mm512_castps_si512(from))
#define from_integers(from) _mm512_castsi512_ps((__m512i)(from))
#define lesser(a, b) _mm512_min_ps(a, b)
#define greater(a, b) _mm512_max_ps(a, b)

static inline __m512 reciprocal(__m512 x) {
  const __m512 near = _mm512_rcp14_ps(x); /* a step of Newton's method doubles its digits */
  return near * _mm512_fnmadd_ps(near, x, _mm512_set1_ps(2));
}
/* Inputs are made positive: the instruction multiplies unsigned bytes by signed ones. */
#define four_of(bytes) _mm512_set1_epi32((bytes) ^ (int32_t)0x80808080)
#define dot4(a, w, x) \
  ((integers)_mm512_dpbusd_epi32((__m512i)(a), x, _mm512_loadu_si512((const void *)(w))))
#define dot2(a, w, x)                                  \
  ((integers)_mm512_dpwssd_epi32(                      \
      (__m512i)(a), _mm512_set1_epi32(x),              \
      _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(w)))))

/* The table's 256 bytes lie in four vectors. */
typedef struct {
  __m512i a, b, c, d;
} tables;
static inline tables load_table(const int8_t *table) {
  return (tables){_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64),
                  _mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192)};
}
static inline __m128i looked_up(tables t, __m128i x) {
  const __m512i at = _mm512_castsi128_si512(x);
  const __m512i low = _mm512_permutex2var_epi8(t.a, at, t.b);
  const __m512i high = _mm512_permutex2var_epi8(t.c, at, t.d);
  return _mm_mask_blend_epi8(_mm_movepi8_mask(x), _mm512_castsi512_si128(low),
                             _mm512_castsi512_si128(high));
}
/* As many at once as one product writes: a store that is read in other sizes is waited for. */
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  const tables t = load_table(table);
  for (; count >= 16; x += 16, y += 16, count -= 16)
    _mm_storeu_si128((void *)y, looked_up(t, _mm_loadu_si128((const void *)x)));
  const __mmask16 here = (__mmask16)((1u << count) - 1);
  _mm_mask_storeu_epi8(y, here, looked_up(t, _mm_maskz_loadu_epi8(here, x)));
}
/* Many at once, of a constant: x and y have room for a multiple of 64. */
#define look_up_many look_up_many
static inline void look_up_many(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  const tables t = load_table(table);
  for (size_t i = 0; i < count; i += 64) {
    const __m512i at = _mm512_loadu_si512(x + i);
    const __m512i low = _mm512_permutex2var_epi8(t.a, at, t.b);
    const __m512i high = _mm512_permutex2var_epi8(t.c, at, t.d);
    _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
  }
}
#define store_looked_up(to, table, from) \
  _mm_storeu_si128((void *)(to), looked_up(load_table(table), _mm512_cvtepi32_epi8((__m512i)(from))))

#include "vectors.h"
#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_avx512 = {"avx512", &products, &elementwise};
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

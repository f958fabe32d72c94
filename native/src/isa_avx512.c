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
/* Inputs are made positive: the instruction multiplies unsigned bytes by signed ones. Their vector
 * is loaded whole first: a scalar would pass through the port that shuffles. */
#define four_of(bytes) _mm512_xor_si512(_mm512_set1_epi32(bytes), _mm512_set1_epi8(-128))
#define four_moved(bytes) _mm512_set1_epi32(bytes)
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
static inline __m512i all_looked_up(tables t, __m512i at) {
  const __m512i low = _mm512_permutex2var_epi8(t.a, at, t.b);
  const __m512i high = _mm512_permutex2var_epi8(t.c, at, t.d);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
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
  for (; count >= 64; x += 64, y += 64, count -= 64)
    _mm512_storeu_si512(y, all_looked_up(t, _mm512_loadu_si512(x)));
  for (; count >= 16; x += 16, y += 16, count -= 16)
    _mm_storeu_si128((void *)y, looked_up(t, _mm_loadu_si128((const void *)x)));
  const __mmask16 here = (__mmask16)((1u << count) - 1);
  _mm_mask_storeu_epi8(y, here, looked_up(t, _mm_maskz_loadu_epi8(here, x)));
}
#define bytes_looked_up(table, from) all_looked_up(load_table(table), from)
/* Many at once, of a constant: x and y have room for a multiple of 64. */
#define look_up_many look_up_many
static inline void look_up_many(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  const tables t = load_table(table);
  for (size_t i = 0; i < count; i += 64)
    _mm512_storeu_si512(y + i, all_looked_up(t, _mm512_loadu_si512(x + i)));
}
#define store_looked_up(to, table, from) \
  _mm_storeu_si128((void *)(to), looked_up(load_table(table), _mm512_cvtepi32_epi8((__m512i)(from))))

#define sum_row sum_row
static inline int32_t sum_row(const int8_t *x, size_t count) {
  const __m512i ones = _mm512_set1_epi8(1); /* the unsigned factor */
  __m128i sums = _mm_setzero_si128();
  if (count > 16) {
    __m512i wide = _mm512_setzero_si512();
    for (; count >= 64; x += 64, count -= 64)
      wide = _mm512_dpbusd_epi32(wide, ones, _mm512_loadu_si512(x));
    const __mmask64 here = ((__mmask64)1 << count) - 1;
    wide = _mm512_dpbusd_epi32(wide, ones, _mm512_maskz_loadu_epi8(here, x));
    return _mm512_reduce_add_epi32(wide);
  }
  const __mmask16 here = (__mmask16)((1u << count) - 1);
  sums = _mm_dpbusd_epi32(sums, _mm512_castsi512_si128(ones), _mm_maskz_loadu_epi8(here, x));
  sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xB1)));
}

/* Quarter v has bytes 4 v to 4 v + 3 of each 128 bits, as packing puts them together again. */
typedef __m512i bytes;
#define load_bytes(from) _mm512_loadu_si512(from)
#define store_bytes(to, from) _mm512_storeu_si512(to, from)
#define same_bytes(value) _mm512_set1_epi8(value)
#define turned(from) _mm512_xor_si512(from, _mm512_set1_epi8(-128))
static inline __m512 quarter_of(__m512i turned, int v) {
  const __m128i from = _mm_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1);
  const __m512i at = _mm512_add_epi8(_mm512_broadcast_i32x4(from),
                                     _mm512_set1_epi32(4 * v)); /* -1 stays in its dword */
  return _mm512_castsi512_ps(_mm512_mask_shuffle_epi8(_mm512_set1_epi32(0x4B000000),
                                                      0x1111111111111111, turned, at));
}
#define quarter(from, v) quarter_of(from, v)
#define narrowed(a, b, c, d)                                                  \
  _mm512_packs_epi16(_mm512_packs_epi32((__m512i)(a), (__m512i)(b)),          \
                     _mm512_packs_epi32((__m512i)(c), (__m512i)(d)))
#define same_words(value) _mm512_set1_epi16((short)(value))
static inline __m512i saturated(const __m512 z[4], __m512i zeros) {
  const __m512i low = _mm512_packs_epi32(_mm512_cvtps_epi32(z[0]), _mm512_cvtps_epi32(z[1]));
  const __m512i high = _mm512_packs_epi32(_mm512_cvtps_epi32(z[2]), _mm512_cvtps_epi32(z[3]));
  return _mm512_packs_epi16(_mm512_adds_epi16(low, zeros), _mm512_adds_epi16(high, zeros));
}

#define in_order(from)                                                                  \
  _mm512_permutexvar_epi32(                                                             \
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), from)

#include "vectors.h"
#include "bytes_lanes.h"
#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_avx512 = {"avx512", &products, &elementwise};
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

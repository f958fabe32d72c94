/* SPDX-License-Identifier: Apache-2.0 */
/* What AVX2 with and without VNNI have in common; included under the target of AVX2, FMA, F16C. */
#include <immintrin.h>

#define LANES 8
#define ROWS 2
typedef __m256 reals;
typedef __v8si integers;

#define reals_of(value) _mm256_set1_ps(value)
#define integers_of(value) ((integers)_mm256_set1_epi32(value))
#define load_f32(from) _mm256_loadu_ps(from)
#define load_f16(from) _mm256_cvtph_ps(_mm_loadu_si128((const void *)(from)))
#define load_i8(from) \
  _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(from))))
#define times_plus(a, b, c) _mm256_fmadd_ps(a, b, c)
#define store_f32(to, from) _mm256_storeu_ps(to, from)
#define load_i32(from) ((integers)_mm256_loadu_si256((const void *)(from)))
#define load_wide(from) ((integers)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(from))))
#define to_reals(from) _mm256_cvtepi32_ps((__m256i)(from))
#define to_integers(from) ((integers)_mm256_castps_si256(from))
#define from_integers(from) _mm256_castsi256_ps((__m256i)(from))
#define lesser(a, b) _mm256_min_ps(a, b)
#define greater(a, b) _mm256_max_ps(a, b)

static inline __m256 reciprocal(__m256 x) {
  const __m256 near = _mm256_rcp_ps(x); /* a step of Newton's method doubles its digits */
  return near * _mm256_fnmadd_ps(near, x, _mm256_set1_ps(2));
}

static inline void store_narrow(int8_t *to, integers from) {
  const __m256i x = (__m256i)from, lowest_bytes = _mm256_setr_epi8(
      0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
      0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i halves = _mm256_shuffle_epi8(x, lowest_bytes);
  _mm_storel_epi64((void *)to, _mm_unpacklo_epi32(_mm256_castsi256_si128(halves),
                                                  _mm256_extracti128_si256(halves, 1)));
}

static inline integers dot2(integers a, const int8_t *w, int32_t x) {
  const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w));
  return a + (integers)_mm256_madd_epi16(wide, _mm256_set1_epi32(x));
}
/* Sixteen values at a time. The instruction looks at an index's low four bits, and gives 0 if it is
 * below 0. An index from 16 i on is still there at steps 0 to i, and what it finds at all of them,
 * differences to the step before, is together what stands at i. */
static inline __m256i bytes_looked_up(const int8_t *table, __m256i x) {
  __m256i found = _mm256_setzero_si256();
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++, x = _mm256_xor_si256(x, _mm256_set1_epi8(-128))) {
    __m256i at = x, before = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++, at = _mm256_subs_epi8(at, _mm256_set1_epi8(16))) {
      const __m128i *from = (const void *)(table + 128 * half + 16 * i);
      const __m256i values = _mm256_broadcastsi128_si256(_mm_loadu_si128(from));
      const __m256i change = _mm256_xor_si256(values, before);
      found = _mm256_xor_si256(found, _mm256_shuffle_epi8(change, at));
      before = values;
    }
  }
  return found;
}
#define bytes_looked_up bytes_looked_up
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  for (; count >= 32; x += 32, y += 32, count -= 32)
    _mm256_storeu_si256((void *)y, bytes_looked_up(table, _mm256_loadu_si256((const void *)x)));
  for (size_t i = 0; i < count; i++) y[i] = table[(uint8_t)x[i]];
}

/* Quarter v has bytes 4 v to 4 v + 3 of each 128 bits, as packing puts them together again. */
typedef __m256i bytes;
#define load_bytes(from) _mm256_loadu_si256((const void *)(from))
#define store_bytes(to, from) _mm256_storeu_si256((void *)(to), from)
#define same_bytes(value) _mm256_set1_epi8(value)
#define turned(from) _mm256_xor_si256(from, _mm256_set1_epi8(-128))
static inline __m256 quarter_of(__m256i turned, int v) {
  const __m256i at = _mm256_setr_epi8(
      0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1,
      0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1);
  const __m256i found = _mm256_shuffle_epi8(turned, _mm256_add_epi8(at, _mm256_set1_epi32(4 * v)));
  return _mm256_castsi256_ps(_mm256_or_si256(found, _mm256_set1_epi32(0x4B000000)));
}
#define quarter(from, v) quarter_of(from, v)
#define narrowed(a, b, c, d)                                                  \
  _mm256_packs_epi16(_mm256_packs_epi32((__m256i)(a), (__m256i)(b)),          \
                     _mm256_packs_epi32((__m256i)(c), (__m256i)(d)))
#define same_words(value) _mm256_set1_epi16((short)(value))
static inline __m256i saturated(const __m256 z[4], __m256i zeros) {
  const __m256i low = _mm256_packs_epi32(_mm256_cvtps_epi32(z[0]), _mm256_cvtps_epi32(z[1]));
  const __m256i high = _mm256_packs_epi32(_mm256_cvtps_epi32(z[2]), _mm256_cvtps_epi32(z[3]));
  return _mm256_packs_epi16(_mm256_adds_epi16(low, zeros), _mm256_adds_epi16(high, zeros));
}

#define in_order(from) \
  _mm256_permutevar8x32_epi32(from, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))

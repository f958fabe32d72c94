/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2 and FMA. In int8 and int16 the same bits as the portable kernels. */
#include "products.h"

#ifdef ES_HAVE_AVX2
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "arithmetic.h"

#include <immintrin.h>
#include <string.h>

/* Values of an input that are widened at once. */
#define CHUNK 256

/* Write a block's values, of which the last block of a matrix has fewer. */
static inline void write_f32(float *y, const __m256 *values, size_t vectors, size_t here) {
  if (here == 8 * vectors) {
    for (size_t v = 0; v < vectors; v++) _mm256_storeu_ps(y + 8 * v, values[v]);
    return;
  }
  float whole[32];
  for (size_t v = 0; v < vectors; v++) _mm256_storeu_ps(whole + 8 * v, values[v]);
  memcpy(y, whole, here * sizeof *y);
}

/* A NaN as the second operand stays one. */
static inline __m256 limited(__m256 value, const es_product *p) {
  return _mm256_min_ps(_mm256_set1_ps(p->high), _mm256_max_ps(_mm256_set1_ps(p->low), value));
}

static void f32(const es_product *p, const float *x, float *y) {
  const float *bias = p->bias;
  const size_t width = p->width;
  size_t first = 0;
  for (; p->units - first >= 32; first += 32) {
    const float *w = (const float *)p->weights + first * width;
    __m256 a[4], b[4];
    for (int v = 0; v < 4; v++) {
      a[v] = _mm256_loadu_ps(bias + first + 8 * v);
      b[v] = _mm256_setzero_ps();
    }
    size_t k = 0;
    for (; k + 2 <= width; k += 2, w += 64) { /* two sums hide the latency of an addition */
      __m256 even = _mm256_broadcast_ss(x + k), odd = _mm256_broadcast_ss(x + k + 1);
      for (int v = 0; v < 4; v++) {
        a[v] = _mm256_fmadd_ps(_mm256_load_ps(w + 8 * v), even, a[v]);
        b[v] = _mm256_fmadd_ps(_mm256_load_ps(w + 32 + 8 * v), odd, b[v]);
      }
    }
    if (k < width)
      for (int v = 0; v < 4; v++)
        a[v] = _mm256_fmadd_ps(_mm256_load_ps(w + 8 * v), _mm256_broadcast_ss(x + k), a[v]);
    for (int v = 0; v < 4; v++) a[v] = limited(_mm256_add_ps(a[v], b[v]), p);
    write_f32(y + first, a, 4, 32);
  }
  for (; first < p->units; first += 8) {
    const float *w = (const float *)p->weights + first * width;
    __m256 a[4] = {_mm256_loadu_ps(bias + first), _mm256_setzero_ps(), _mm256_setzero_ps(),
                   _mm256_setzero_ps()};
    size_t k = 0;
    for (; k + 4 <= width; k += 4, w += 32)
      for (int v = 0; v < 4; v++)
        a[v] = _mm256_fmadd_ps(_mm256_load_ps(w + 8 * v), _mm256_broadcast_ss(x + k + v), a[v]);
    for (; k < width; k++, w += 8)
      a[0] = _mm256_fmadd_ps(_mm256_load_ps(w), _mm256_broadcast_ss(x + k), a[0]);
    a[0] = limited(_mm256_add_ps(_mm256_add_ps(a[0], a[1]), _mm256_add_ps(a[2], a[3])), p);
    write_f32(y + first, a, 1, p->units - first < 8 ? p->units - first : 8);
  }
}

static inline __m256 widened(const int8_t *w) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)w)));
}

static void hybrid(const es_product *p, const float *x, float *y) {
  const float *bias = p->bias;
  const size_t width = p->width;
  for (size_t first = 0, block; first < p->units; first += block) {
    block = es_block(p->units - first);
    const int8_t *w = (const int8_t *)p->weights + first * width;
    const size_t here = p->units - first < block ? p->units - first : block;
    __m256 a[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                   _mm256_setzero_ps()};
    if (block == 32) {
      for (size_t k = 0; k < width; k++, w += 32) {
        __m256 one = _mm256_broadcast_ss(x + k);
        for (int v = 0; v < 4; v++) a[v] = _mm256_fmadd_ps(widened(w + 8 * v), one, a[v]);
      }
    } else {
      size_t k = 0;
      for (; k + 4 <= width; k += 4, w += 32)
        for (int v = 0; v < 4; v++)
          a[v] = _mm256_fmadd_ps(widened(w + 8 * v), _mm256_broadcast_ss(x + k + v), a[v]);
      for (; k < width; k++, w += 8)
        a[0] = _mm256_fmadd_ps(widened(w), _mm256_broadcast_ss(x + k), a[0]);
      a[0] = _mm256_add_ps(_mm256_add_ps(a[0], a[1]), _mm256_add_ps(a[2], a[3]));
    }
    for (size_t v = 0; v < block / 8; v++)
      a[v] = limited(_mm256_fmadd_ps(a[v], _mm256_loadu_ps(p->scales + first + 8 * v),
                                     _mm256_loadu_ps(bias + first + 8 * v)),
                     p);
    write_f32(y + first, a, block / 8, here);
  }
}

/* Add a block's products with pairs of inputs, each a pair of int16 in 32 bits. */
static inline void add_pairs(__m256i *a, int vectors, const int8_t *w, const int32_t *pairs,
                             size_t count) {
  for (size_t k = 0; k < count; k++, w += 16 * vectors) {
    __m256i pair = _mm256_set1_epi32(pairs[k]);
    for (int v = 0; v < vectors; v++) {
      __m256i wide = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(w + 16 * v)));
      a[v] = _mm256_add_epi32(a[v], _mm256_madd_epi16(wide, pair));
    }
  }
}

/* Widen a chunk of int8 values into pairs of int16; a missing last one is 0. */
static inline size_t widen_pairs(const int8_t *x, size_t count, int32_t *pairs) {
  int16_t *wide = (int16_t *)pairs;
  for (size_t k = 0; k < count; k++) wide[k] = x[k];
  if (count % 2) wide[count] = 0;
  return (count + 1) / 2;
}

static inline __m256i stored_i32(__m256i sums, const es_product *p, size_t unit) {
  __m256 steps = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(p->scales + unit));
  return _mm256_add_epi32(_mm256_cvtps_epi32(limited(steps, p)), _mm256_set1_epi32(p->zero));
}

static void i8(const es_product *p, const int8_t *x, int8_t *y) {
  const int32_t *bias = p->bias;
  _Alignas(32) int32_t pairs[CHUNK / 2];
  const size_t even = es_even(p->width);
  size_t known = widen_pairs(x, p->width < CHUNK ? p->width : CHUNK, pairs), first = 0;
  for (; p->units - first >= 32; first += 32) {
    const int8_t *w = (const int8_t *)p->weights + first * even;
    __m256i a[4];
    for (int v = 0; v < 4; v++) a[v] = _mm256_loadu_si256((const void *)(bias + first + 8 * v));
    if (p->width <= CHUNK) {
      add_pairs(a, 4, w, pairs, known);
    } else {
      for (size_t k = 0; k < p->width; k += CHUNK) {
        known = widen_pairs(x + k, p->width - k < CHUNK ? p->width - k : CHUNK, pairs);
        add_pairs(a, 4, w + k * 32, pairs, known);
      }
    }
    for (int v = 0; v < 4; v++) a[v] = stored_i32(a[v], p, first + 8 * (size_t)v);
    __m256i low = _mm256_packs_epi32(a[0], a[1]), high = _mm256_packs_epi32(a[2], a[3]);
    __m256i mixed = _mm256_packs_epi16(low, high); /* halves of vectors are interleaved */
    _mm256_storeu_si256(
        (void *)(y + first),
        _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
  }
  for (; first < p->units; first += 8) {
    const int8_t *w = (const int8_t *)p->weights + first * even;
    __m256i a = _mm256_loadu_si256((const void *)(bias + first));
    for (size_t k = 0; k < p->width; k += CHUNK) {
      if (p->width > CHUNK)
        known = widen_pairs(x + k, p->width - k < CHUNK ? p->width - k : CHUNK, pairs);
      add_pairs(&a, 1, w + k * 8, pairs, known);
    }
    int32_t whole[8];
    _mm256_storeu_si256((void *)whole, stored_i32(a, p, first));
    for (size_t u = 0; u < 8 && first + u < p->units; u++) y[first + u] = (int8_t)whole[u];
  }
}

static void i16(const es_product *p, const int16_t *x, int16_t *y) {
  const int64_t *bias = p->bias;
  _Alignas(32) int32_t pairs[CHUNK / 2];
  for (size_t first = 0, block; first < p->units; first += block) {
    block = es_block(p->units - first);
    const int8_t *w = (const int8_t *)p->weights + first * es_even(p->width);
    int64_t sums[32];
    memcpy(sums, bias + first, block * sizeof *sums);
    for (size_t k = 0; k < p->width; k += CHUNK, w += CHUNK * block) {
      /* 256 products of 16 by 8 bits do not overflow 32. */
      size_t count = p->width - k < CHUNK ? p->width - k : CHUNK;
      memcpy(pairs, x + k, count * sizeof *x);
      if (count % 2) ((int16_t *)pairs)[count] = 0;
      __m256i a[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                      _mm256_setzero_si256()};
      if (block == 32) add_pairs(a, 4, w, pairs, (count + 1) / 2);
      else add_pairs(a, 1, w, pairs, (count + 1) / 2);
      int32_t parts[32];
      for (size_t v = 0; v < block / 8; v++) _mm256_storeu_si256((void *)(parts + 8 * v), a[v]);
      for (size_t u = 0; u < block; u++) sums[u] += parts[u];
    }
    for (size_t u = 0; u < block && first + u < p->units; u++)
      y[first + u] = (int16_t)(es_rint64(es_clamp64((double)sums[u] * (double)p->scales[first + u],
                                                    p->low, p->high)) +
                               p->zero);
  }
}

const es_products es_products_avx2 = {"avx2", f32, hybrid, i8, i16};
#endif

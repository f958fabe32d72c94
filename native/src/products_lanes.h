/* SPDX-License-Identifier: Apache-2.0 */
/* Products in vectors of LANES; an instruction set's file includes it after vectors.h. */
#define MOST (4 * LANES)

/* Several sums of the same units hide how long an addition takes. */
#define SETS(vectors, rows) ((rows) > 1 ? 1 : (vectors) == 4 ? 2 : 4)

INLINE reals weights_at(es_sum_kind kind, const void *w, size_t at) {
  if (kind == ES_SUM_F32) return load_f32((const float *)w + at);
  if (kind == ES_SUM_F16) return load_f16((const uint16_t *)w + at);
  return load_i8((const int8_t *)w + at);
}

/* Sum a block of units for some rows. */
INLINE void real_sums(es_sum_kind kind, size_t vectors, size_t rows, const void *w, size_t width,
                      const float *x, size_t stride, reals sums[][4]) {
  const size_t sets = SETS(vectors, rows), units = vectors * LANES;
  reals a[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < rows * sets * vectors; i++) a[i] = reals_of(0);
  size_t k = 0;
  for (; k + sets <= width; k += sets)
#pragma GCC unroll 4
    for (size_t set = 0; set < sets; set++)
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; v++) {
        const reals one = weights_at(kind, w, (k + set) * units + v * LANES);
#pragma GCC unroll 4
        for (size_t row = 0; row < rows; row++) {
          const size_t i = (row * sets + set) * vectors + v;
          a[i] = times_plus(one, reals_of(x[row * stride + k + set]), a[i]);
        }
      }
  for (; k < width; k++)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++)
      a[v] = times_plus(weights_at(kind, w, k * units + v * LANES), reals_of(x[k]), a[v]);
#pragma GCC unroll 4
  for (size_t row = 0; row < rows; row++)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) {
      reals sum = a[row * sets * vectors + v];
#pragma GCC unroll 4
      for (size_t set = 1; set < sets; set++) sum += a[(row * sets + set) * vectors + v];
      sums[row][v] = sum;
    }
}

/* The last few inputs, filled up with zeros. */
INLINE int32_t rest_of(const int8_t *x, size_t count) {
  int32_t four = 0;
  for (size_t i = 0; i < count; i++) four |= (int32_t)((uint32_t)(uint8_t)x[i] << 8 * i);
  return four;
}
INLINE int32_t four_at(const int8_t *x) {
  int32_t four;
  memcpy(&four, x, 4);
  return four;
}

INLINE void integer_sums(size_t vectors, size_t rows, const int8_t *w, size_t width,
                         const int8_t *x, size_t stride, const int32_t *bias,
                         integers sums[][4]) {
  const size_t sets = SETS(vectors, rows), group = vectors * LANES * 4;
  integers a[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < rows * sets * vectors; i++) a[i] = integers_of(0);
  size_t k = 0;
  for (; k + 4 * sets <= width; k += 4 * sets)
#pragma GCC unroll 4
    for (size_t set = 0; set < sets; set++, w += group)
#pragma GCC unroll 4
      for (size_t row = 0; row < rows; row++) {
        const fours x4 = four_of(four_at(x + row * stride + k + 4 * set));
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
          const size_t i = (row * sets + set) * vectors + v;
          a[i] = dot4(a[i], w + v * LANES * 4, x4);
        }
      }
  for (; k < width; k += 4, w += group)
#pragma GCC unroll 4
    for (size_t row = 0; row < rows; row++) {
      const int8_t *at = x + row * stride + k;
      const fours x4 = four_of(width - k < 4 ? rest_of(at, width - k) : four_at(at));
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; v++)
        a[row * sets * vectors + v] = dot4(a[row * sets * vectors + v], w + v * LANES * 4, x4);
    }
#pragma GCC unroll 4
  for (size_t row = 0; row < rows; row++)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) {
      integers sum = a[row * sets * vectors + v];
#pragma GCC unroll 4
      for (size_t set = 1; set < sets; set++) sum += a[(row * sets + set) * vectors + v];
      sums[row][v] = sum + load_i32(bias + v * LANES);
    }
}

/* --- What becomes of a block's sums -------------------------------------------------------- */

INLINE void finish_f32(const es_product *p, size_t vectors, reals *z, float *y, size_t here) {
  const float low = p->low, high = p->high;
#pragma GCC unroll 4
  for (size_t v = 0; v < vectors; v++) z[v] = limited(z[v], low, high);
  if (p->activation == ES_LOGISTIC)
    for (size_t v = 0; v < vectors; v++) z[v] = logistic_reals(z[v]);
  else if (p->activation == ES_TANH)
    for (size_t v = 0; v < vectors; v++) z[v] = tanh_reals(z[v]);
  if (here == vectors * LANES) {
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) store_f32(y + v * LANES, z[v]);
    return;
  }
  float whole[MOST];
#pragma GCC unroll 4
  for (size_t v = 0; v < vectors; v++) store_f32(whole + v * LANES, z[v]);
  memcpy(y, whole, here * sizeof *y);
}

INLINE void finish_i8(const es_product *p, size_t vectors, const reals *z, int8_t *y, size_t here) {
#ifdef BYTES
  if (vectors == 4 && here == MOST) {
    const bytes stored = in_order(stored_bytes(z, p->zero));
#ifdef bytes_looked_up
    store_bytes(y, p->activation == ES_TABLE ? bytes_looked_up(p->table, stored) : stored);
#else
    store_bytes(y, stored);
    if (p->activation == ES_TABLE) look_up(p->table, y, y, MOST);
#endif
    return;
  }
#endif
  const integers zero = integers_of(p->zero);
  int8_t whole[MOST], *to = here == vectors * LANES ? y : whole;
#ifdef store_looked_up
  if (p->activation == ES_TABLE)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++)
      store_looked_up(to + v * LANES, p->table, rounded(z[v]) + zero);
  else
#endif
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) store_narrow(to + v * LANES, rounded(z[v]) + zero);
#ifndef store_looked_up
  if (p->activation == ES_TABLE) look_up(p->table, to, to, vectors * LANES);
#endif
  if (to == whole) memcpy(y, whole, here);
}

/* --- Blocks of units and rows -------------------------------------------------------------- */

/* Add what a term sums for a block of units. */
INLINE void real_term(es_sum_kind kind, size_t vectors, size_t rows, const es_term *t, size_t first,
                      const float *x, size_t row, bool add, reals z[][4]) {
  static const uint8_t bytes[] = {4, 2, 1};
  const float *bias = (const float *)t->bias + first, *scales = t->scales + first;
  reals sums[ROWS][4];
  real_sums(kind, vectors, rows, (const char *)t->weights + first * t->width * bytes[kind],
            t->width, x + row * t->stride, t->stride, sums);
#pragma GCC unroll 4
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) {
      reals sum = sums[r][v];
      if (kind == ES_SUM_HYBRID) sum = sum * load_f32(scales + v * LANES);
      sum = sum + load_f32(bias + v * LANES);
      if (add) sum = z[r][v] + sum;
      z[r][v] = sum;
    }
}

INLINE void real_block(es_sum_kind kind, size_t vectors, size_t rows, const es_product *p,
                       size_t first, const void *const *x, float *y, size_t row) {
  const size_t units = vectors * LANES, here = p->units - first < units ? p->units - first : units;
  reals z[ROWS][4];
  real_term(kind, vectors, rows, &p->terms[0], first, x[0], row, false, z);
  if (p->term_count > 1) real_term(kind, vectors, rows, &p->terms[1], first, x[1], row, true, z);
#pragma GCC unroll 4
  for (size_t r = 0; r < rows; r++)
    finish_f32(p, vectors, z[r], y + (row + r) * p->stride + first, here);
}

/* A term in steps of its grid, without its zero point. */
INLINE void integer_term(size_t vectors, size_t rows, const es_term *t, size_t first,
                         const int8_t *x, size_t row, reals z[][4]) {
  integers sums[ROWS][4];
  integer_sums(vectors, rows, (const int8_t *)t->weights + first * es_up(t->width, 4), t->width,
               x + row * t->stride, t->stride, (const int32_t *)t->bias + first, sums);
#pragma GCC unroll 4
  for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) {
      const reals steps = to_reals(sums[r][v]) * load_f32(t->scales + first + v * LANES);
      z[r][v] = limited(steps, t->low, t->high);
    }
}

INLINE void integer_block(size_t vectors, size_t rows, const es_product *p, size_t first,
                          const void *const *x, int8_t *y, size_t row) {
  const size_t units = vectors * LANES, here = p->units - first < units ? p->units - first : units;
  reals z[ROWS][4];
  integer_term(vectors, rows, &p->terms[0], first, x[0], row, z);
  if (p->term_count > 1) {
    const reals step = reals_of(p->terms[0].step), other_step = reals_of(p->terms[1].step);
    reals other[ROWS][4];
    integer_term(vectors, rows, &p->terms[1], first, x[1], row, other);
#pragma GCC unroll 4
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; v++) {
        const reals steps = nearest(z[r][v]) * step + nearest(other[r][v]) * other_step;
        z[r][v] = limited(steps, p->low, p->high);
      }
  }
#pragma GCC unroll 4
  for (size_t r = 0; r < rows; r++)
    finish_i8(p, vectors, z[r], y + (row + r) * p->stride + first, here);
}

#include "sparse_lanes.h"

/* A block's weights stay near while the rows pass. */
#define EACH_ROW(call)                                    \
  do {                                                    \
    size_t row = 0;                                       \
    for (; p->rows - row >= ROWS; row += ROWS) call(ROWS); \
    for (; row < p->rows; row++) call(1);                 \
  } while (0)
#define EACH_BLOCK(four, two, one)                                       \
  for (size_t first = 0, units; first < p->units; first += units) {      \
    units = es_block(p->units - first, LANES);                           \
    if (units == MOST) EACH_ROW(four);                                   \
    else if (units == 2 * LANES) EACH_ROW(two);                          \
    else EACH_ROW(one);                                                  \
  }
#define REAL(name, kind)                                                      \
  static void name(const es_product *p, const void *const *x, void *y) {      \
    EACH_BLOCK(REAL4_##kind, REAL2_##kind, REAL1_##kind)                      \
  }
#define REAL4_ES_SUM_F32(rows) real_block(ES_SUM_F32, 4, rows, p, first, x, y, row)
#define REAL2_ES_SUM_F32(rows) real_block(ES_SUM_F32, 2, rows, p, first, x, y, row)
#define REAL1_ES_SUM_F32(rows) real_block(ES_SUM_F32, 1, rows, p, first, x, y, row)
#define REAL4_ES_SUM_F16(rows) real_block(ES_SUM_F16, 4, rows, p, first, x, y, row)
#define REAL2_ES_SUM_F16(rows) real_block(ES_SUM_F16, 2, rows, p, first, x, y, row)
#define REAL1_ES_SUM_F16(rows) real_block(ES_SUM_F16, 1, rows, p, first, x, y, row)
#define REAL4_ES_SUM_HYBRID(rows) real_block(ES_SUM_HYBRID, 4, rows, p, first, x, y, row)
#define REAL2_ES_SUM_HYBRID(rows) real_block(ES_SUM_HYBRID, 2, rows, p, first, x, y, row)
#define REAL1_ES_SUM_HYBRID(rows) real_block(ES_SUM_HYBRID, 1, rows, p, first, x, y, row)
REAL(real_f32, ES_SUM_F32)
REAL(real_f16, ES_SUM_F16)
REAL(real_hybrid, ES_SUM_HYBRID)

#define INTEGER4(rows) integer_block(4, rows, p, first, x, y, row)
#define INTEGER2(rows) integer_block(2, rows, p, first, x, y, row)
#define INTEGER1(rows) integer_block(1, rows, p, first, x, y, row)
static void integer_i8(const es_product *p, const void *const *x, void *y) {
  EACH_BLOCK(INTEGER4, INTEGER2, INTEGER1)
}

/* So many products of 16 by 8 bits do not overflow 32. */
#define CHUNK 256

INLINE void wide_sums(size_t vectors, const int8_t *w, size_t width, const int16_t *x,
                      int64_t *sums) {
  for (size_t k = 0; k < width; k += CHUNK) {
    const size_t end = width - k < CHUNK ? width : k + CHUNK;
    integers a[4];
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) a[v] = integers_of(0);
    for (size_t at = k; at < end; at += 2, w += vectors * LANES * 2) {
      int16_t pair[2] = {x[at], at + 1 < end ? x[at + 1] : 0};
      int32_t two;
      memcpy(&two, pair, 4);
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; v++) a[v] = dot2(a[v], w + v * LANES * 2, two);
    }
    int32_t parts[MOST];
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) memcpy(parts + v * LANES, &a[v], sizeof a[v]);
    for (size_t u = 0; u < vectors * LANES; u++) sums[u] += parts[u];
  }
}

static void integer_i16(const es_product *p, const void *const *inputs, void *outputs) {
  const es_term *t = &p->terms[0];
  const double low = (double)p->low, high = (double)p->high;
  for (size_t row = 0; row < p->rows; row++)
    for (size_t first = 0, units; first < p->units; first += units) {
      units = es_block(p->units - first, LANES);
      const int8_t *w = (const int8_t *)t->weights + first * es_up(t->width, 2);
      const int16_t *x = (const int16_t *)inputs[0] + row * t->stride;
      int16_t *y = (int16_t *)outputs + row * p->stride + first;
      int64_t sums[MOST];
      memcpy(sums, (const int64_t *)t->bias + first, units * sizeof *sums);
      if (units == MOST) wide_sums(4, w, t->width, x, sums);
      else if (units == 2 * LANES) wide_sums(2, w, t->width, x, sums);
      else wide_sums(1, w, t->width, x, sums);
      for (size_t u = 0; u < units && first + u < p->units; u++)
        y[u] = (int16_t)(es_rint64(es_clamp64((double)sums[u] * (double)t->scales[first + u], low,
                                              high)) +
                         p->zero);
    }
}

static const es_products products = {
    LANES, 4, SHIFT, LOWEST, {real_f32, real_f16, real_hybrid, integer_i8, integer_i16},
    sparse_f32, sparse_i8, SPARSE_BLOCKS};

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators element by element, written so that a compiler makes vectors of the loops. Each
 * instruction set's file includes this, after look_up(table, x, y, count). All compute the same
 * bits. What the fields of an es_op mean is written in kernels_elementwise.c. */
#include "elementwise.h"
#include "functions_lanes.h"

#define LOOP(of_a, of_b, expression)                                                      \
  for (size_t i = 0; i < count; i++) {                                                    \
    const size_t ia = (of_a), ib = (of_b);                                                \
    y[i] = (expression);                                                                  \
  }
#define BINARY(name, type, operand, expression)                                           \
  ES_KERNEL void name(const es_op *op, char *block) {                                     \
    const type *a = es_at(op->in[0], block), *b = es_at(op->in[1], block);                \
    type *restrict y = es_at(op->out[0], block);                                          \
    const operand za = (operand)op->zero[0], zb = (operand)op->zero[1];                   \
    const int32_t zero = op->zero[2];                                                     \
    const float ka = op->scale[0], kb = op->scale[1], low = op->low, high = op->high;     \
    (void)za, (void)zb, (void)zero, (void)ka, (void)kb, (void)low, (void)high;            \
    const int32_t *index_a = op->index[0], *index_b = op->index[1];                       \
    size_t count = op->n[0];                                                              \
    if (op->n[1] == ES_ALIKE) {                                                           \
      LOOP(i, i, expression)                                                              \
      return;                                                                             \
    }                                                                                     \
    const type *first_a = a, *first_b = b;                                                \
    for (size_t row = 0; row < op->n[2]; row++, y += count) {                             \
      count = op->n[3];                                                                   \
      a = first_a + index_a[row], b = first_b + index_b[row];                             \
      if (op->n[1] == ES_BOTH_MOVE) LOOP(i, i, expression)                                \
      else if (op->n[1] == ES_SECOND_MOVES) LOOP(0, i, expression)                        \
      else if (op->n[1] == ES_FIRST_MOVES) LOOP(i, 0, expression)                         \
      else LOOP(0, 0, expression)                                                         \
    }                                                                                     \
  }

BINARY(div_f32, float, float, es_clamp(a[ia] / b[ib], low, high))
BINARY(max_f32, float, float, es_clamp(a[ia] > b[ib] ? a[ia] : b[ib], low, high))
BINARY(min_f32, float, float, es_clamp(a[ia] < b[ib] ? a[ia] : b[ib], low, high))

#ifdef LANES
/* A row in vectors: `moves` says which operands go on along it. The last ones, which fill no vector,
 * are computed in a copy. */
#define VECTOR_AT(load, all, moves, from, kind) ((moves) ? load(from) : all(*(const kind *)(from)))
#define ROW(name, type, compute)                                                          \
  INLINE void name##_row(const es_op *op, const type *a, const type *b, type *to,         \
                         size_t count, bool move_a, bool move_b) {                        \
    const reals ka = reals_of(op->scale[0]), kb = reals_of(op->scale[1]);                 \
    const integers za = integers_of(op->zero[0]), zb = integers_of(op->zero[1]);          \
    const integers zero = integers_of(op->zero[2]);                                       \
    const float low = op->low, high = op->high;                                           \
    type rest_a[LANES], rest_b[LANES], rest_y[LANES], *y = to;                            \
    (void)za, (void)zb, (void)ka, (void)kb, (void)zero, (void)low, (void)high, (void)b;   \
    for (; count >= LANES; count -= LANES, y += LANES) {                                  \
      compute;                                                                            \
      if (move_a) a += LANES;                                                             \
      if (move_b) b += LANES;                                                             \
    }                                                                                     \
    if (!count) return;                                                                   \
    to = y;                                                                               \
    memset(rest_a, 0, sizeof rest_a), memset(rest_b, 0, sizeof rest_b);                   \
    memcpy(rest_a, a, (move_a ? count : 1) * sizeof *a);                                  \
    memcpy(rest_b, b, (move_b ? count : 1) * sizeof *b);                                  \
    a = rest_a, b = rest_b, y = rest_y;                                                   \
    compute;                                                                              \
    memcpy(to, rest_y, count * sizeof *y);                                                \
  }
#define VECTORS(name, type, most, compute)                                                \
  ROW(name, type, compute)                                                                \
  ES_KERNEL void name(const es_op *op, char *block) {                                     \
    const type *a = es_at(op->in[0], block), *b = es_at(op->in[most], block);             \
    type *y = es_at(op->out[0], block);                                                   \
    if (op->n[1] == ES_ALIKE) {                                                           \
      name##_row(op, a, b, y, op->n[0], true, true);                                      \
      return;                                                                             \
    }                                                                                     \
    const int32_t *index_a = op->index[0], *index_b = op->index[1];                       \
    for (size_t row = 0; row < op->n[2]; row++, y += op->n[3]) {                          \
      const type *at_a = a + index_a[row], *at_b = b + index_b[row];                      \
      if (op->n[1] == ES_BOTH_MOVE) name##_row(op, at_a, at_b, y, op->n[3], true, true);  \
      else if (op->n[1] == ES_FIRST_MOVES) name##_row(op, at_a, at_b, y, op->n[3], true, false);  \
      else if (op->n[1] == ES_SECOND_MOVES) name##_row(op, at_a, at_b, y, op->n[3], false, true); \
      else name##_row(op, at_a, at_b, y, op->n[3], false, false);                         \
    }                                                                                     \
  }
#define REAL_A VECTOR_AT(load_f32, reals_of, move_a, a, float)
#define REAL_B VECTOR_AT(load_f32, reals_of, move_b, b, float)
#define WIDE_A (VECTOR_AT(load_wide, integers_of, move_a, a, int8_t) - za)
#define WIDE_B (VECTOR_AT(load_wide, integers_of, move_b, b, int8_t) - zb)
VECTORS(add_f32, float, 1, store_f32(y, limited(REAL_A + REAL_B, low, high)))
VECTORS(sub_f32, float, 1, store_f32(y, limited(REAL_A - REAL_B, low, high)))
VECTORS(mul_f32, float, 1, store_f32(y, limited(REAL_A * REAL_B, low, high)))
#define SUM_I8                                                                            \
  store_narrow(y, rounded(limited(to_reals(WIDE_A) * ka + to_reals(WIDE_B) * kb, low, high)) + zero)
#define PRODUCT_I8                                                                        \
  store_narrow(y, rounded(limited(to_reals(WIDE_A * WIDE_B) * ka, low, high)) + zero)
#ifdef BYTES
ROW(add_i8, int8_t, SUM_I8)
ROW(mul_i8, int8_t, PRODUCT_I8)
BYTE_BINARY(add_i8)
BYTE_BINARY(mul_i8)
#else
VECTORS(add_i8, int8_t, 1, SUM_I8)
VECTORS(mul_i8, int8_t, 1, PRODUCT_I8)
#endif
#else
BINARY(add_f32, float, float, es_clamp(a[ia] + b[ib], low, high))
BINARY(sub_f32, float, float, es_clamp(a[ia] - b[ib], low, high))
BINARY(mul_f32, float, float, es_clamp(a[ia] * b[ib], low, high))
/* A difference has the second factor negative. */
BINARY(add_i8, int8_t, int32_t,
       (int8_t)es_stored((float)(a[ia] - za) * ka + (float)(b[ib] - zb) * kb, low, high, zero))
BINARY(mul_i8, int8_t, int32_t,
       (int8_t)es_stored((float)((a[ia] - za) * (b[ib] - zb)) * ka, low, high, zero))
#endif
BINARY(max_i8, int8_t, int32_t, a[ia] > b[ib] ? a[ia] : b[ib])
BINARY(min_i8, int8_t, int32_t, a[ia] < b[ib] ? a[ia] : b[ib])

static inline int16_t stored16(double steps, float low, float high, int32_t zero) {
  return (int16_t)(es_rint64(es_clamp64(steps, (double)low, (double)high)) + zero);
}
BINARY(add_i16, int16_t, int32_t,
       stored16((double)(a[ia] - za) * (double)ka + (double)(b[ib] - zb) * (double)kb, low, high,
                zero))
BINARY(mul_i16, int16_t, int32_t,
       stored16((double)((int64_t)(a[ia] - za) * (b[ib] - zb)) * (double)ka, low, high, zero))
BINARY(max_i16, int16_t, int32_t, a[ia] > b[ib] ? a[ia] : b[ib])
BINARY(min_i16, int16_t, int32_t, a[ia] < b[ib] ? a[ia] : b[ib])
BINARY(add_i32, int32_t, uint32_t, (int32_t)((uint32_t)a[ia] + (uint32_t)b[ib]))
BINARY(sub_i32, int32_t, uint32_t, (int32_t)((uint32_t)a[ia] - (uint32_t)b[ib]))
BINARY(mul_i32, int32_t, uint32_t, (int32_t)((uint32_t)a[ia] * (uint32_t)b[ib]))
BINARY(max_i32, int32_t, int32_t, a[ia] > b[ib] ? a[ia] : b[ib])
BINARY(min_i32, int32_t, int32_t, a[ia] < b[ib] ? a[ia] : b[ib])

#define UNARY(name, from, to, expression)                                                 \
  ES_KERNEL void name(const es_op *op, char *block) {                                     \
    const from *x = es_at(op->in[0], block);                                              \
    to *restrict y = es_at(op->out[0], block);                                            \
    const size_t count = op->n[0];                                                        \
    const float low = op->low, high = op->high, ka = op->scale[0], kb = op->scale[1];     \
    const int32_t za = op->zero[0], zero = op->zero[2];                                   \
    (void)low, (void)high, (void)ka, (void)kb, (void)za, (void)zero;                      \
    for (size_t i = 0; i < count; i++) y[i] = (expression);                               \
  }

#ifdef LANES
VECTORS(tanh_f32, float, 0, store_f32(y, tanh_reals(REAL_A)))
VECTORS(logistic_f32, float, 0, store_f32(y, logistic_reals(REAL_A)))
#else
UNARY(tanh_f32, float, float, tanh_lane(x[i]))
UNARY(logistic_f32, float, float, logistic_lane(x[i]))
#endif
UNARY(exp_f32, float, float, exp_lane(x[i]))
UNARY(root_f32, float, float, x[i] > 0 ? es_root(x[i]) : 0.0f)
/* A root of nothing, in steps of a grid, is as large as the grid goes. */
UNARY(reciprocal_root_f32, float, float, x[i] > 0 ? 1.0f / es_root(x[i]) : 1e30f)
UNARY(limits_f32, float, float, es_clamp(x[i], low, high))
UNARY(quantize_i8, float, int8_t, (int8_t)es_stored(x[i] / kb, low, high, zero))
UNARY(quantize_i16, float, int16_t, (int16_t)es_stored(x[i] / kb, low, high, zero))
UNARY(dequantize_i8, int8_t, float, (float)(x[i] - za) * ka)
UNARY(dequantize_i16, int16_t, float, (float)(x[i] - za) * ka)

/* Sums along an axis. n: elements before it, along it, behind it. Where nothing is behind it, eight
 * sums side by side, so that each machine adds in the same order. */
ES_KERNEL void sum_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block), share = op->scale[0];
  float *restrict y = es_at(op->out[0], block);
  const size_t length = op->n[1], inner = op->n[2];
  for (size_t outer = 0; outer < op->n[0]; outer++, y += inner) {
    if (inner == 1) {
      float sums[8] = {0}, rest = 0;
      size_t k = 0;
      for (; k + 8 <= length; k += 8)
        for (size_t i = 0; i < 8; i++) sums[i] += x[k + i];
      for (; k < length; k++) rest += x[k];
      for (size_t i = 0; i < 4; i++) sums[i] += sums[i + 4];
      *y = ((sums[0] + sums[2]) + (sums[1] + sums[3]) + rest) * share;
      x += length;
      continue;
    }
    for (size_t i = 0; i < inner; i++) y[i] = x[i];
    x += inner;
    for (size_t k = 1; k < length; k++, x += inner)
      for (size_t i = 0; i < inner; i++) y[i] += x[i];
    for (size_t i = 0; i < inner; i++) y[i] *= share;
  }
}
/* Sums of int8 in steps of the output. Limited, es_rint64 leaves them in the lower half of its
 * bits. */
static void store_sums(const es_op *op, const int32_t *sums, size_t count, int8_t *restrict y) {
  const double zeros = (double)((int64_t)op->n[1] * op->zero[0]);
  const int32_t zero = op->zero[2];
  const double scale = (double)op->scale[0], low = (double)op->low, high = (double)op->high;
  union {
    double real[64];
    int64_t bits[64];
  } steps;
  for (size_t i = 0; i < count; i++) {
    const double real = ((double)sums[i] - zeros) * scale;
    steps.real[i] = es_clamp64(real, low, high) + 6755399441055744.0;
  }
  for (size_t i = 0; i < count; i++) y[i] = (int8_t)((int32_t)steps.bits[i] + zero);
}
#ifdef LANES
#ifndef sum_row
INLINE int32_t sum_row(const int8_t *x, size_t count) {
  integers sums = integers_of(0);
  int32_t parts[LANES], sum = 0;
  for (; count >= LANES; x += LANES, count -= LANES) sums = sums + load_wide(x);
  memcpy(parts, &sums, sizeof parts);
  for (size_t i = 0; i < LANES; i++) sum += parts[i];
  for (; count; x++, count--) sum += *x;
  return sum;
}
#endif
/* As many sums side by side as fit; returns how many. */
INLINE size_t sum_beside(const int8_t *x, size_t length, size_t inner, size_t count, int32_t *sums) {
  size_t done = 0;
  for (; count - done >= LANES; done += LANES) {
    integers vector = integers_of(0);
    for (size_t k = 0; k < length; k++) vector = vector + load_wide(x + k * inner + done);
    memcpy(sums + done, &vector, sizeof vector);
  }
  return done;
}
#else
static inline int32_t sum_row(const int8_t *x, size_t count) {
  int32_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += x[i];
  return sum;
}
#define sum_beside(x, length, inner, count, sums) 0
#endif

ES_KERNEL void sum_i8(const es_op *op, char *block) {
  const int8_t *x = es_at(op->in[0], block);
  int8_t *restrict y = es_at(op->out[0], block);
  const size_t length = op->n[1], inner = op->n[2];
  const size_t rows = op->n[0] * (inner == 1), wholes = op->n[0] * (inner > 1);
  int32_t sums[64];
  for (size_t first = 0; first < rows; first += 64) {
    const size_t here = rows - first < 64 ? rows - first : 64;
    for (size_t i = 0; i < here; i++, x += length) sums[i] = sum_row(x, length);
    store_sums(op, sums, here, y);
    y += here;
  }
  for (size_t outer = 0; outer < wholes; outer++, x += length * inner)
    for (size_t first = 0; first < inner; first += 64) {
      const size_t here = inner - first < 64 ? inner - first : 64;
      for (size_t i = sum_beside(x + first, length, inner, here, sums); i < here; i++) {
        sums[i] = 0;
        for (size_t k = 0; k < length; k++) sums[i] += x[k * inner + first + i];
      }
      store_sums(op, sums, here, y);
      y += here;
    }
}

ES_KERNEL void table_i8(const es_op *op, char *block) {
  look_up(op->table, es_at(op->in[0], block), es_at(op->out[0], block), op->n[0]);
}

#ifndef ES_FIRMWARE
static const es_elementwise elementwise = {
    {{add_f32, add_i8, add_i16, add_i32},
     {sub_f32, add_i8, add_i16, sub_i32},
     {mul_f32, mul_i8, mul_i16, mul_i32},
     {div_f32, NULL, NULL, NULL},
     {max_f32, max_i8, max_i16, max_i32},
     {min_f32, min_i8, min_i16, min_i32}},
    tanh_f32, logistic_f32, exp_f32, root_f32, reciprocal_root_f32, limits_f32, table_i8,
    quantize_i8, quantize_i16, dequantize_i8, dequantize_i16, sum_f32, sum_i8};
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators element by element, written so that a compiler makes vectors of the loops. Each
 * instruction set's file includes this, after look_up(table, x, y, count). All compute the same
 * bits. What the fields of an es_op mean is written in kernels_elementwise.c. */
#include "functions_lanes.h"

#define LOOP(of_a, of_b, expression)                                                      \
  for (size_t i = 0; i < count; i++) {                                                    \
    const size_t ia = (of_a), ib = (of_b);                                                \
    y[i] = (expression);                                                                  \
  }
#define BINARY(name, type, operand, expression)                                           \
  static void name(const es_op *op, char *block) {                                        \
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

BINARY(add_f32, float, float, es_clamp(a[ia] + b[ib], low, high))
BINARY(sub_f32, float, float, es_clamp(a[ia] - b[ib], low, high))
BINARY(mul_f32, float, float, es_clamp(a[ia] * b[ib], low, high))
BINARY(div_f32, float, float, es_clamp(a[ia] / b[ib], low, high))
BINARY(max_f32, float, float, es_clamp(a[ia] > b[ib] ? a[ia] : b[ib], low, high))
BINARY(min_f32, float, float, es_clamp(a[ia] < b[ib] ? a[ia] : b[ib], low, high))

#ifdef LANES
/* Operands of one shape in vectors; the last ones, which fill none, in a copy. */
#define VECTORS(name, type, most, compute)                                              \
  static void name##_alike(const es_op *op, const type *a, const type *b, type *y) {    \
    size_t count = op->n[0];                                                            \
    const reals ka = reals_of(op->scale[0]), kb = reals_of(op->scale[1]);               \
    const integers za = integers_of(op->zero[0]), zb = integers_of(op->zero[1]);        \
    const integers zero = integers_of(op->zero[2]);                                     \
    const float low = op->low, high = op->high;                                         \
    type rest_a[LANES], rest_b[LANES], rest_y[LANES], *to = y;                          \
    (void)za, (void)zb, (void)ka, (void)kb, (void)zero, (void)low, (void)high;                                 \
    for (;; a += LANES, b += LANES, to += LANES, count -= LANES) {                      \
      const bool whole = count >= LANES;                                                \
      if (!whole) {                                                                     \
        if (!count) return;                                                             \
        memset(rest_a, 0, sizeof rest_a), memset(rest_b, 0, sizeof rest_b);             \
        memcpy(rest_a, a, count * sizeof *a), memcpy(rest_b, b, count * sizeof *b);     \
        a = rest_a, b = rest_b, y = rest_y;                                             \
      } else {                                                                          \
        y = to;                                                                         \
      }                                                                                 \
      compute;                                                                          \
      if (!whole) {                                                                     \
        memcpy(to, rest_y, count * sizeof *y);                                          \
        return;                                                                         \
      }                                                                                 \
    }                                                                                   \
  }                                                                                     \
  static void name(const es_op *op, char *block) {                                      \
    if (op->n[1] == ES_ALIKE)                                                           \
      name##_alike(op, es_at(op->in[0], block), es_at(op->in[most], block),             \
                   es_at(op->out[0], block));                                           \
    else name##_rows(op, block);                                                        \
  }
#endif

/* A difference has the second factor negative. */
BINARY(add_i8_rows, int8_t, int32_t,
       (int8_t)es_stored((float)(a[ia] - za) * ka + (float)(b[ib] - zb) * kb, low, high, zero))
BINARY(mul_i8_rows, int8_t, int32_t,
       (int8_t)es_stored((float)((a[ia] - za) * (b[ib] - zb)) * ka, low, high, zero))
#ifdef LANES
VECTORS(add_i8, int8_t, 1,
        store_narrow(y, rounded(limited(to_reals(load_wide(a) - za) * ka +
                                            to_reals(load_wide(b) - zb) * kb,
                                        low, high)) + zero))
VECTORS(mul_i8, int8_t, 1,
        store_narrow(y, rounded(limited(to_reals((load_wide(a) - za) * (load_wide(b) - zb)) * ka,
                                        low, high)) + zero))
#else
#define add_i8 add_i8_rows
#define mul_i8 mul_i8_rows
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
  static void name(const es_op *op, char *block) {                                        \
    const from *x = es_at(op->in[0], block);                                              \
    to *restrict y = es_at(op->out[0], block);                                            \
    const size_t count = op->n[0];                                                        \
    const float low = op->low, high = op->high, ka = op->scale[0], kb = op->scale[1];     \
    const int32_t za = op->zero[0], zero = op->zero[2];                                   \
    (void)low, (void)high, (void)ka, (void)kb, (void)za, (void)zero;                      \
    for (size_t i = 0; i < count; i++) y[i] = (expression);                               \
  }

#ifdef LANES
static void no_rows(const es_op *op, char *block) { (void)op, (void)block; }
#define tanh_f32_rows no_rows
#define logistic_f32_rows no_rows
VECTORS(tanh_f32, float, 0, store_f32(y, tanh_reals(load_f32(a))))
VECTORS(logistic_f32, float, 0, store_f32(y, logistic_reals(load_f32(a))))
#else
UNARY(tanh_f32, float, float, tanh_lane(x[i]))
UNARY(logistic_f32, float, float, logistic_lane(x[i]))
#endif
UNARY(exp_f32, float, float, exp_lane(x[i]))
UNARY(limits_f32, float, float, es_clamp(x[i], low, high))
UNARY(quantize_i8, float, int8_t, (int8_t)es_stored(x[i] / kb, low, high, zero))
UNARY(quantize_i16, float, int16_t, (int16_t)es_stored(x[i] / kb, low, high, zero))
UNARY(dequantize_i8, int8_t, float, (float)(x[i] - za) * ka)
UNARY(dequantize_i16, int16_t, float, (float)(x[i] - za) * ka)

static void table_i8(const es_op *op, char *block) {
  look_up(op->table, es_at(op->in[0], block), es_at(op->out[0], block), op->n[0]);
}

static const es_elementwise elementwise = {
    {{add_f32, add_i8, add_i16, add_i32},
     {sub_f32, add_i8, add_i16, sub_i32},
     {mul_f32, mul_i8, mul_i16, mul_i32},
     {div_f32, NULL, NULL, NULL},
     {max_f32, max_i8, max_i16, max_i32},
     {min_f32, min_i8, min_i16, min_i32}},
    tanh_f32,     logistic_f32, exp_f32,       limits_f32,     table_i8,
    quantize_i8,  quantize_i16, dequantize_i8, dequantize_i16};

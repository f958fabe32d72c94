/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that work element by element, and conversions between types. */
#include "kernels.h"

/* --- Two operands ------------------------------------------------------------------------- */

/* zero: of both inputs and the output. scale: a step of each input in steps of the output, or of
 * their product. index: where each operand's element is, if shapes differ. */

#define PAIRS(of_a, of_b, expression)                  \
  for (size_t i = 0; i < count; i++) {                 \
    const size_t ia = (of_a), ib = (of_b);             \
    y[i] = (expression);                               \
  }
#define BINARY(name, type, operand, expression)                                              \
  static void name(const es_op *op, char *block) {                                           \
    const type *a = es_at(op->in[0], block), *b = es_at(op->in[1], block);                   \
    type *y = es_at(op->out[0], block);                                                      \
    const size_t count = op->n[0];                                                           \
    const int32_t *index_a = op->index[0], *index_b = op->index[1];                          \
    const operand za = (operand)op->zero[0], zb = (operand)op->zero[1];                      \
    const int32_t zero = op->zero[2];                                                        \
    const float ka = op->scale[0], kb = op->scale[1], low = op->low, high = op->high;        \
    (void)za, (void)zb, (void)zero, (void)ka, (void)kb, (void)low, (void)high;                                    \
    if (op->n[1] == 0) PAIRS(i, i, expression)                                               \
    else if (op->n[1] == 1) PAIRS(0, i, expression)                                          \
    else if (op->n[1] == 2) PAIRS(i, 0, expression)                                          \
    else PAIRS((size_t)index_a[i], (size_t)index_b[i], expression)                           \
  }

BINARY(add_f32, float, float, es_clamp(a[ia] + b[ib], low, high))
BINARY(sub_f32, float, float, es_clamp(a[ia] - b[ib], low, high))
BINARY(mul_f32, float, float, es_clamp(a[ia] * b[ib], low, high))
BINARY(div_f32, float, float, es_clamp(a[ia] / b[ib], low, high))
BINARY(max_f32, float, float, es_clamp(a[ia] > b[ib] ? a[ia] : b[ib], low, high))
BINARY(min_f32, float, float, es_clamp(a[ia] < b[ib] ? a[ia] : b[ib], low, high))

/* A difference has the second factor negative. */
BINARY(add_i8, int8_t, int32_t,
       (int8_t)es_stored((float)(a[ia] - za) * ka + (float)(b[ib] - zb) * kb, low, high, zero))
BINARY(mul_i8, int8_t, int32_t,
       (int8_t)es_stored((float)((a[ia] - za) * (b[ib] - zb)) * ka, low, high, zero))
BINARY(max_i8, int8_t, int32_t, a[ia] > b[ib] ? a[ia] : b[ib])
BINARY(min_i8, int8_t, int32_t, a[ia] < b[ib] ? a[ia] : b[ib])

static inline int16_t stored16(double steps, float low, float high, int32_t zero) {
  return (int16_t)(es_rint64(es_clamp64(steps, low, high)) + zero);
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

/* Where each element of the result takes its operand from, by NumPy's rules. */
static const int32_t *broadcast(es_loader *l, const es_tensor *from, const es_tensor *out) {
  int32_t *index = es_take(l, (out->count + 1) * sizeof *index);
  if (!index) return NULL;
  for (size_t i = 0; i < out->count; i++) {
    size_t rest = i, at = 0, stride = 1;
    for (int axis = 1; axis <= out->rank; axis++) {
      size_t length = (size_t)out->dims[out->rank - axis], place = rest % length;
      rest /= length;
      if (axis > from->rank) continue;
      size_t own = (size_t)from->dims[from->rank - axis];
      at += (own == 1 ? 0 : place) * stride;
      stride *= own;
    }
    index[i] = (int32_t)at;
  }
  return index;
}

static bool spreads(const es_tensor *from, const es_tensor *out) {
  if (from->rank > out->rank) return false;
  for (int axis = 1; axis <= from->rank; axis++) {
    int32_t own = from->dims[from->rank - axis];
    if (own != 1 && own != out->dims[out->rank - axis]) return false;
  }
  return true;
}

static es_status shapes(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *a = op->in[0], *b = op->in[1], *out = op->out[0];
  if (!spreads(a, out) || !spreads(b, out)) return es_misfit(l, s, "its shapes do not fit");
  op->n[0] = out->count;
  if (a->count == out->count && b->count == out->count) op->n[1] = 0;
  else if (a->count == 1 && b->count == out->count) op->n[1] = 1;
  else if (b->count == 1 && a->count == out->count) op->n[1] = 2;
  else {
    op->n[1] = 3;
    op->index[0] = broadcast(l, a, out);
    op->index[1] = broadcast(l, b, out);
  }
  return l->status;
}

enum { ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM };

es_status es_binary(es_loader *l, es_op *op, es_source *s) {
  static const es_kernel kernels[6][4] = {
      {add_f32, add_i8, add_i16, add_i32}, {sub_f32, add_i8, add_i16, sub_i32},
      {mul_f32, mul_i8, mul_i16, mul_i32}, {div_f32, NULL, NULL, NULL},
      {max_f32, max_i8, max_i16, max_i32}, {min_f32, min_i8, min_i16, min_i32}};
  const int kind = s->code == 0    ? ADD
                   : s->code == 41 ? SUB
                   : s->code == 18 ? MUL
                   : s->code == 42 ? DIV
                   : s->code == 55 ? MAXIMUM
                                   : MINIMUM;
  const es_tensor *a = op->in[0], *b = op->in[1], *out = op->out[0];
  if (!a || !b || a->type != b->type || a->type != out->type)
    return es_misfit(l, s, "its tensors' types differ");
  if (shapes(l, op, s)) return l->status;
  const int activation = kind < MAXIMUM ? es_field_i8(s->reader, s->options, 0, 0) : 0;
  if (es_activation(l, s, activation, &op->low, &op->high)) return l->status;
  if (a->type == ES_F32) {
    op->run = kernels[kind][0];
  } else if (a->type == ES_I32) {
    if (activation) return es_misfit(l, s, "it has an activation of whole numbers");
    op->run = kernels[kind][3];
  } else if (es_is_quantized(a) && es_is_quantized(b) && es_is_quantized(out)) {
    op->run = kernels[kind][a->type == ES_I8 ? 1 : 2];
    if (kind >= MAXIMUM && (!es_same_grid(a, b) || !es_same_grid(a, out)))
      return es_misfit(l, s, "its tensors are on different grids");
    const double step = out->scales[0], of_a = a->scales[0], of_b = b->scales[0];
    op->scale[0] = (float)(kind == MUL ? of_a * of_b / step : of_a / step);
    op->scale[1] = (float)((kind == SUB ? -of_b : of_b) / step);
    op->zero[0] = a->zero_point;
    op->zero[1] = b->zero_point;
    op->zero[2] = out->zero_point;
    es_stored_limits(out, &op->low, &op->high);
  }
  return op->run ? ES_OK : es_misfit(l, s, "its tensors' type is not known here");
}

/* --- One operand --------------------------------------------------------------------------- */

static double as_tanh(double x, double unused) {
  (void)unused;
  if (x > 20) return 1;
  if (x < -20) return -1;
  double e = es_exp(2 * x);
  return (e - 1) / (e + 1);
}
static double as_logistic(double x, double unused) {
  (void)unused;
  return 1 / (1 + es_exp(-x));
}
static double as_abs(double x, double unused) { return (void)unused, x < 0 ? -x : x; }
static double as_exp(double x, double unused) { return (void)unused, es_exp(x); }
static double as_log(double x, double unused) { return (void)unused, es_log(x); }
static double as_negative(double x, double unused) { return (void)unused, -x; }
static double as_relu(double x, double unused) { return (void)unused, x > 0 ? x : 0; }
static double as_relu6(double x, double unused) { return (void)unused, es_clamp64(x, 0, 6); }
static double as_root(double x, double unused) { return (void)unused, es_sqrt(x); }
/* A root of nothing, in steps of a grid, is as large as the grid goes. */
static double as_reciprocal_root(double x, double unused) {
  return (void)unused, x > 0 ? 1 / es_sqrt(x) : 1e30;
}
static double as_leaky_relu(double x, double slope) { return x < 0 ? x * slope : x; }
static double as_elu(double x, double unused) { return (void)unused, x < 0 ? es_exp(x) - 1 : x; }
static double as_gelu(double x, double approximate) {
  if (approximate == 0) return x * (1 + es_erf(x * 0.70710678118654752440)) / 2;
  return x * (1 + as_tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x), 0)) / 2;
}

static void unary_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++) y[i] = (float)op->function((double)x[i], op->parameter);
}
static void tanh_f32(const es_op *op, char *block) {
  es_tanh_f32(es_at(op->in[0], block), es_at(op->out[0], block), op->n[0]);
}
static void logistic_f32(const es_op *op, char *block) {
  es_logistic_f32(es_at(op->in[0], block), es_at(op->out[0], block), op->n[0]);
}
static void exp_f32(const es_op *op, char *block) {
  es_exp_f32(es_at(op->in[0], block), es_at(op->out[0], block), op->n[0]);
}
static void relu_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++) y[i] = es_clamp(x[i], op->low, op->high);
}
/* Any function of 8 bits is a table. */
static void unary_i8(const es_op *op, char *block) {
  const int8_t *x = es_at(op->in[0], block), *table = op->table + 128;
  int8_t *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++) y[i] = table[x[i]];
}
static double of_grid(const es_op *op, int32_t stored) {
  const double real = op->function((double)(stored - op->zero[0]) * (double)op->scale[0],
                                   op->parameter);
  return es_clamp64(real / (double)op->scale[1], op->low, op->high);
}
static void unary_i16(const es_op *op, char *block) {
  const int16_t *x = es_at(op->in[0], block);
  int16_t *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++)
    y[i] = (int16_t)(es_rint64(of_grid(op, x[i])) + op->zero[2]);
}

es_status es_unary(es_loader *l, es_op *op, es_source *s) {
  static const struct {
    int code;
    double (*function)(double, double);
    es_kernel fast;
  } rows[] = {{101, as_abs, NULL},      {111, as_elu, NULL},    {47, as_exp, exp_f32},
              {150, as_gelu, NULL},     {98, as_leaky_relu, NULL}, {73, as_log, NULL},
              {14, as_logistic, logistic_f32}, {59, as_negative, NULL}, {19, as_relu, relu_f32},
              {21, as_relu6, relu_f32}, {76, as_reciprocal_root, NULL}, {75, as_root, NULL},
              {28, as_tanh, tanh_f32}};
  const es_tensor *x = op->in[0], *out = op->out[0];
  size_t row = 0;
  while (row < sizeof rows / sizeof *rows - 1 && rows[row].code != s->code) row++;
  if (!x || x->type != out->type || x->count != out->count)
    return es_misfit(l, s, "its tensors differ in type or shape");
  op->function = rows[row].function;
  op->n[0] = x->count;
  op->low = 0;
  op->high = s->code == 21 ? 6.0f : 3.4e38f;
  if (s->code == 98) op->parameter = (double)es_field_f32(s->reader, s->options, 0, 0);
  if (s->code == 150) {
    size_t at = es_field(s->reader, s->options, 0);
    op->parameter = at && es_read_u8(s->reader, at);
  }
  if (x->type == ES_F32) {
    op->run = rows[row].fast ? rows[row].fast : unary_f32;
    return ES_OK;
  }
  if (!es_is_quantized(x) || !es_is_quantized(out))
    return es_misfit(l, s, "its tensors' type is not known here");
  op->scale[0] = x->scales[0];
  op->scale[1] = out->scales[0];
  op->zero[0] = x->zero_point;
  op->zero[2] = out->zero_point;
  op->low = -3.4e38f;
  es_stored_limits(out, &op->low, &op->high);
  if (x->type == ES_I16) {
    op->run = unary_i16;
    return ES_OK;
  }
  int8_t *table = es_take(l, 256);
  if (!table) return l->status;
  for (int i = -128; i < 128; i++)
    table[i + 128] = (int8_t)(es_rint64(of_grid(op, i)) + op->zero[2]);
  op->table = table;
  op->run = unary_i8;
  return ES_OK;
}

/* --- Conversions --------------------------------------------------------------------------- */

static void quantize_i8(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  int8_t *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++)
    y[i] = (int8_t)es_stored(x[i] / op->scale[1], op->low, op->high, op->zero[2]);
}
static void quantize_i16(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  int16_t *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++)
    y[i] = (int16_t)es_stored(x[i] / op->scale[1], op->low, op->high, op->zero[2]);
}
static void dequantize_i8(const es_op *op, char *block) {
  const int8_t *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++) y[i] = (float)(x[i] - op->zero[0]) * op->scale[0];
}
static void dequantize_i16(const es_op *op, char *block) {
  const int16_t *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++) y[i] = (float)(x[i] - op->zero[0]) * op->scale[0];
}
/* From one grid to another, of 8 or 16 bits each. */
static void regrid(const es_op *op, char *block) {
  const void *x = es_at(op->in[0], block);
  void *y = es_at(op->out[0], block);
  const bool wide = op->in[0]->type == ES_I16, wide_out = op->out[0]->type == ES_I16;
  for (size_t i = 0; i < op->n[0]; i++) {
    int32_t stored = (wide ? ((const int16_t *)x)[i] : ((const int8_t *)x)[i]) - op->zero[0];
    double steps = (double)stored * (double)op->scale[0] / (double)op->scale[1];
    int64_t value = es_rint64(es_clamp64(steps, op->low, op->high)) + op->zero[2];
    if (wide_out) ((int16_t *)y)[i] = (int16_t)value;
    else ((int8_t *)y)[i] = (int8_t)value;
  }
}

/* Values of a constant that is stored shorter are made once. */
static es_status constant_f32(es_loader *l, es_op *op, es_source *s) {
  es_tensor *x = op->in[0], *out = op->out[0];
  if (out->type != ES_F32 || !x->constant) return es_misfit(l, s, "its types are not known here");
  float *values = es_take(l, out->bytes);
  if (!values) return l->status;
  for (size_t i = 0; i < x->count; i++) {
    if (x->type == ES_F16) values[i] = es_half_to_float(((const uint16_t *)x->constant)[i]);
    else values[i] = (float)(((const int8_t *)x->constant)[i] - x->zero_point) * x->scales[0];
  }
  out->constant = values;
  op->run = NULL; /* nothing is left to do in a step */
  return ES_OK;
}

es_status es_conversion(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *out = op->out[0];
  if (!x || x->count != out->count) return es_misfit(l, s, "its shapes do not fit");
  op->n[0] = x->count;
  if (x->constant && (x->type == ES_F16 || (x->type == ES_I8 && x->scale_count == 1)))
    return constant_f32(l, op, s);
  const bool from = es_is_quantized(x), to = es_is_quantized(out);
  if (from) {
    op->scale[0] = x->scales[0];
    op->zero[0] = x->zero_point;
  }
  if (to) {
    op->scale[1] = out->scales[0];
    op->zero[2] = out->zero_point;
    op->low = -3.4e38f;
    op->high = 3.4e38f;
    es_stored_limits(out, &op->low, &op->high);
  }
  if (x->type == ES_F32 && to) op->run = out->type == ES_I8 ? quantize_i8 : quantize_i16;
  else if (from && out->type == ES_F32) op->run = x->type == ES_I8 ? dequantize_i8 : dequantize_i16;
  else if (from && to) op->run = regrid;
  return op->run ? ES_OK : es_misfit(l, s, "its tensors' types are not known here");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that work element by element, and conversions between types. */
#include "instruction_set.h"
#include "kernels.h"
#include "run_functions.h"

/* --- Two operands ------------------------------------------------------------------------- */

/* zero: of both inputs and the output. scale: a step of each input in steps of the output, or of
 * their product. n: elements of the output; how operands of other shapes move along a row, the rows,
 * the elements of one. index: where each row of each operand begins. */

/* Where in an operand the result's element is, by NumPy's rules. */
static size_t place_of(const es_tensor *from, const es_tensor *out, size_t element) {
  size_t at = 0, stride = 1;
  for (int axis = 1; axis <= from->rank; axis++) {
    const size_t length = (size_t)out->dims[out->rank - axis], place = element % length;
    const size_t own = (size_t)from->dims[from->rank - axis];
    element /= length;
    at += (own == 1 ? 0 : place) * stride;
    stride *= own;
  }
  return at;
}

/* How many of the result's last elements an operand has one after another, or but one of. */
static size_t row_of(const es_tensor *from, const es_tensor *out, bool *moves) {
  size_t row = 1;
  int axis = 1;
  *moves = false;
  for (; axis <= out->rank; axis++) {
    const int32_t own = axis <= from->rank ? from->dims[from->rank - axis] : 1;
    const int32_t length = out->dims[out->rank - axis];
    if (length == 1) continue;
    if (row == 1) *moves = own == length;
    else if (*moves != (own == length)) break;
    row *= (size_t)length;
  }
  return row;
}

static size_t greatest_common(size_t a, size_t b) { return b ? greatest_common(b, a % b) : a; }

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
  op->n[1] = ES_ALIKE;
  if ((a->count == out->count && b->count == out->count) || !out->count) return ES_OK;
  bool move_a, move_b;
  const size_t row_a = row_of(a, out, &move_a), row_b = row_of(b, out, &move_b);
  const size_t row = greatest_common(row_a, row_b), rows = out->count / row;
  int32_t *index = es_take(l, 2 * rows * sizeof *index);
  if (!index) return l->status;
  for (size_t i = 0; i < rows; i++) {
    index[i] = (int32_t)place_of(a, out, i * row);
    index[rows + i] = (int32_t)place_of(b, out, i * row);
  }
  op->n[1] = move_a && move_b ? ES_BOTH_MOVE
             : move_a         ? ES_FIRST_MOVES
             : move_b         ? ES_SECOND_MOVES
                              : ES_NONE_MOVES;
  op->n[2] = rows;
  op->n[3] = row;
  op->index[0] = index;
  op->index[1] = index + rows;
  return ES_OK;
}

es_status es_binary(es_loader *l, es_op *op, es_source *s) {
  const int kind = s->code == 0    ? ES_ADD
                   : s->code == 41 ? ES_SUB
                   : s->code == 18 ? ES_MUL
                   : s->code == 42 ? ES_DIV
                   : s->code == 55 ? ES_MAXIMUM
                                   : ES_MINIMUM;
  const es_kernel *kernels = l->instructions->elementwise->binary[kind];
  const es_tensor *a = op->in[0], *b = op->in[1], *out = op->out[0];
  if (!a || !b || a->type != b->type || a->type != out->type)
    return es_misfit(l, s, "its tensors' types differ");
  if (shapes(l, op, s)) return l->status;
  const int activation = kind < ES_MAXIMUM ? es_field_i8(s->reader, s->options, 0, 0) : 0;
  if (es_activation(l, s, activation, &op->low, &op->high)) return l->status;
  if (a->type == ES_F32) {
    op->run = kernels[0];
  } else if (a->type == ES_I32) {
    if (activation) return es_misfit(l, s, "it has an activation of whole numbers");
    op->run = kernels[3];
  } else if (es_is_quantized(a) && es_is_quantized(b) && es_is_quantized(out)) {
    op->run = kernels[a->type == ES_I8 ? 1 : 2];
    if (kind >= ES_MAXIMUM && (!es_same_grid(a, b) || !es_same_grid(a, out)))
      return es_misfit(l, s, "its tensors are on different grids");
    const double step = out->scales[0], of_a = a->scales[0], of_b = b->scales[0];
    op->scale[0] = (float)(kind == ES_MUL ? of_a * of_b / step : of_a / step);
    op->scale[1] = (float)((kind == ES_SUB ? -of_b : of_b) / step);
    op->zero[0] = a->zero_point;
    op->zero[1] = b->zero_point;
    op->zero[2] = out->zero_point;
    es_stored_limits(out, &op->low, &op->high);
  }
  return op->run ? ES_OK : es_misfit(l, s, "its tensors' type is not known here");
}

/* --- One operand --------------------------------------------------------------------------- */

#define FUNCTION(code, function) {code, function, #function}
static const struct {
  int code;
  double (*function)(double, double);
  const char *name;
} functions[] = {
    FUNCTION(101, as_abs),          FUNCTION(111, as_elu),     FUNCTION(47, as_exp),
    FUNCTION(150, as_gelu),         FUNCTION(98, as_leaky_relu), FUNCTION(73, as_log),
    FUNCTION(14, as_logistic),      FUNCTION(59, as_negative), FUNCTION(19, as_relu),
    FUNCTION(21, as_relu6),         FUNCTION(76, as_reciprocal_root),
    FUNCTION(75, as_root),          FUNCTION(28, as_tanh)};
#define FUNCTIONS (sizeof functions / sizeof *functions)

const char *es_function_name(double (*function)(double, double)) {
  for (size_t i = 0; i < FUNCTIONS; i++)
    if (functions[i].function == function) return functions[i].name;
  return NULL;
}
const es_named_kernel es_function_kernels[] = {ES_NAMED(unary_f32), ES_NAMED(unary_i16),
                                               ES_NAMED(regrid), {NULL, NULL}};

es_status es_unary(es_loader *l, es_op *op, es_source *s) {
  const es_elementwise *fast = l->instructions->elementwise;
  const es_tensor *x = op->in[0], *out = op->out[0];
  size_t row = 0;
  while (row < FUNCTIONS - 1 && functions[row].code != s->code) row++;
  if (!x || x->type != out->type || x->count != out->count)
    return es_misfit(l, s, "its tensors differ in type or shape");
  op->function = functions[row].function;
  op->n[0] = x->count;
  op->low = 0;
  op->high = s->code == 21 ? 6.0f : 3.4e38f;
  if (s->code == 98) op->parameter = (double)es_field_f32(s->reader, s->options, 0, 0);
  if (s->code == 150) {
    size_t at = es_field(s->reader, s->options, 0);
    op->parameter = at && es_read_u8(s->reader, at);
  }
  if (x->type == ES_F32) {
    op->run = s->code == 47                    ? fast->exp_f32
              : s->code == 14                  ? fast->logistic_f32
              : s->code == 28                  ? fast->tanh_f32
              : s->code == 75                  ? fast->root_f32
              : s->code == 76                  ? fast->reciprocal_root_f32
              : s->code == 19 || s->code == 21 ? fast->limits_f32
                                               : unary_f32;
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
    table[(uint8_t)i] = (int8_t)(es_rint64(of_grid(op, i)) + op->zero[2]);
  op->table = table;
  op->run = fast->table_i8;
  return ES_OK;
}

/* --- Conversions --------------------------------------------------------------------------- */

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
  if (x->type == ES_F16) out->half = x->constant;
  op->run = NULL; /* nothing is left to do in a step */
  return ES_OK;
}

es_status es_conversion(es_loader *l, es_op *op, es_source *s) {
  const es_elementwise *fast = l->instructions->elementwise;
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
  if (x->type == ES_F32 && to) op->run = out->type == ES_I8 ? fast->quantize_i8 : fast->quantize_i16;
  else if (from && out->type == ES_F32) op->run = x->type == ES_I8 ? fast->dequantize_i8 : fast->dequantize_i16;
  else if (from && to) op->run = regrid;
  return op->run ? ES_OK : es_misfit(l, s, "its tensors' types are not known here");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* SUM, MEAN and SOFTMAX. */
#include "functions_lanes.h"
#include "instruction_set.h"
#include "kernels.h"

/* n: elements in and out, elements in each sum. index[0]: the sum that each element goes into.
 * bias: memory offsets are not needed, as the output holds a float's sums; integers sum elements
 * one output after another. scale: of a sum in steps of the output. */
static void sum_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  const int32_t *index = op->index[0];
  for (size_t i = 0; i < op->n[1]; i++) y[i] = 0;
  for (size_t i = 0; i < op->n[0]; i++) y[index[i]] += x[i];
  if (op->scale[0] != 1)
    for (size_t i = 0; i < op->n[1]; i++) y[i] *= op->scale[0];
}

/* index[1]: the elements of each sum, one sum after another. */
static void sum_integers(const es_op *op, char *block) {
  const void *x = es_at(op->in[0], block);
  void *y = es_at(op->out[0], block);
  const bool wide = op->in[0]->type == ES_I16;
  const int32_t *elements = op->index[1];
  for (size_t i = 0; i < op->n[1]; i++) {
    int64_t sum = -(int64_t)op->n[2] * op->zero[0];
    for (size_t e = 0; e < op->n[2]; e++, elements++)
      sum += wide ? ((const int16_t *)x)[*elements] : ((const int8_t *)x)[*elements];
    int64_t stored =
        es_rint64(es_clamp64((double)sum * (double)op->scale[0], op->low, op->high)) + op->zero[2];
    if (wide) ((int16_t *)y)[i] = (int16_t)stored;
    else ((int8_t *)y)[i] = (int8_t)stored;
  }
}

/* Whether the axes that are summed lie side by side; then where they are in n. */
static bool along_one_axis(const es_tensor *x, const bool *reduced, es_op *op) {
  int first = 0, end;
  while (first < x->rank && !reduced[first]) first++;
  for (end = first; end < x->rank && reduced[end];) end++;
  for (int i = end; i < x->rank; i++)
    if (reduced[i]) return false;
  op->n[0] = op->n[1] = op->n[2] = 1;
  for (int i = 0; i < x->rank; i++) op->n[i < first ? 0 : i < end ? 1 : 2] *= (size_t)x->dims[i];
  return op->n[1] <= ES_LONGEST_SUM;
}

es_status es_reduction(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *out = op->out[0];
  int64_t axes[ES_MAX_RANK];
  int count;
  bool reduced[ES_MAX_RANK] = {false};
  if (!x || !es_integers(op->in[1], axes, &count)) return es_misfit(l, s, "its axes are not known");
  for (int i = 0; i < count; i++) {
    int64_t axis = axes[i] < 0 ? axes[i] + x->rank : axes[i];
    if (axis < 0 || axis >= x->rank) return es_misfit(l, s, "its axes do not fit");
    reduced[axis] = true;
  }
  size_t sums = 1;
  for (int i = 0; i < x->rank; i++) sums *= reduced[i] ? 1 : (size_t)x->dims[i];
  if (!sums || !x->count || sums != out->count || x->type != out->type)
    return es_misfit(l, s, "its shapes do not fit");
  op->n[0] = x->count;
  op->n[1] = sums;
  op->n[2] = x->count / sums;
  int32_t *index = es_take(l, x->count * sizeof *index);
  int32_t *elements = es_take(l, x->count * sizeof *elements);
  size_t *filled = es_take(l, sums * sizeof *filled);
  if (l->status) return l->status;
  for (size_t i = 0; i < x->count; i++) {
    size_t rest = i, at = 0, stride = 1;
    for (int axis = x->rank - 1; axis >= 0; axis--) {
      size_t place = rest % (size_t)x->dims[axis];
      rest /= (size_t)x->dims[axis];
      if (reduced[axis]) continue;
      at += place * stride;
      stride *= (size_t)x->dims[axis];
    }
    index[i] = (int32_t)at;
    elements[at * op->n[2] + filled[at]++] = (int32_t)i;
  }
  op->index[0] = index;
  op->index[1] = elements;
  const size_t length = op->n[2];
  const es_elementwise *fast = es_instructions_here()->elementwise;
  const bool one_axis = along_one_axis(x, reduced, op);
  if (!one_axis) {
    op->n[0] = x->count;
    op->n[1] = sums;
    op->n[2] = length;
  }
  op->scale[0] = s->code == 40 ? 1.0f / (float)length : 1.0f;
  op->run = one_axis ? fast->sum_f32 : sum_f32;
  if (x->type == ES_F32) return ES_OK;
  if (!es_is_quantized(x) || !es_is_quantized(out))
    return es_misfit(l, s, "its tensors' type is not known here");
  op->scale[0] = (float)((double)x->scales[0] / (double)out->scales[0] *
                         (s->code == 40 ? 1.0 / (double)length : 1.0));
  op->zero[0] = x->zero_point;
  op->zero[2] = out->zero_point;
  op->low = -3.4e38f;
  op->high = 3.4e38f;
  es_stored_limits(out, &op->low, &op->high);
  op->run = one_axis && x->type == ES_I8 ? fast->sum_i8 : sum_integers;
  return ES_OK;
}

/* n: rows, values in a row. parameter: beta. */
static void softmax_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t row = 0; row < op->n[0]; row++, x += op->n[1], y += op->n[1]) {
    float largest = x[0], sum = 0;
    for (size_t i = 1; i < op->n[1]; i++) largest = x[i] > largest ? x[i] : largest;
    for (size_t i = 0; i < op->n[1]; i++) y[i] = (x[i] - largest) * op->scale[0];
    for (size_t i = 0; i < op->n[1]; i++) y[i] = exp_lane(y[i]);
    for (size_t i = 0; i < op->n[1]; i++) sum += y[i];
    if (op->axis) { /* its logarithm */
      const float log = (float)es_log((double)sum);
      for (size_t i = 0; i < op->n[1]; i++) y[i] = (x[i] - largest) * op->scale[0] - log;
    } else {
      for (size_t i = 0; i < op->n[1]; i++) y[i] /= sum;
    }
  }
}
static double difference(const es_op *op, int32_t stored) {
  return es_exp((double)stored * (double)op->scale[0]);
}
/* packed: exp of each difference that two values of 8 bits may have. */
static void softmax_i8(const es_op *op, char *block) {
  const int8_t *x = es_at(op->in[0], block);
  int8_t *y = es_at(op->out[0], block);
  const double *exps = op->packed, scale = (double)op->scale[1];
  const double low = (double)op->low, high = (double)op->high;
  for (size_t row = 0; row < op->n[0]; row++, x += op->n[1], y += op->n[1]) {
    int8_t largest = x[0];
    for (size_t i = 1; i < op->n[1]; i++) largest = x[i] > largest ? x[i] : largest;
    double sum = 0;
    for (size_t i = 0; i < op->n[1]; i++) sum += exps[largest - x[i]];
    for (size_t i = 0; i < op->n[1]; i++)
      y[i] = (int8_t)(es_rint64(es_clamp64(exps[largest - x[i]] / sum / scale, low, high)) +
                      op->zero[2]);
  }
}
static void softmax_integers(const es_op *op, char *block) {
  const void *x = es_at(op->in[0], block);
  void *y = es_at(op->out[0], block);
  const bool wide = op->in[0]->type == ES_I16;
#define AT(i) (wide ? ((const int16_t *)x)[i] : ((const int8_t *)x)[i])
  for (size_t row = 0; row < op->n[0]; row++) {
    const size_t first = row * op->n[1];
    int32_t largest = AT(first);
    for (size_t i = 1; i < op->n[1]; i++) largest = AT(first + i) > largest ? AT(first + i) : largest;
    double sum = 0;
    for (size_t i = 0; i < op->n[1]; i++) sum += difference(op, AT(first + i) - largest);
    for (size_t i = 0; i < op->n[1]; i++) {
      double steps = difference(op, AT(first + i) - largest) / sum / (double)op->scale[1];
      int64_t stored = es_rint64(es_clamp64(steps, op->low, op->high)) + op->zero[2];
      if (wide) ((int16_t *)y)[first + i] = (int16_t)stored;
      else ((int8_t *)y)[first + i] = (int8_t)stored;
    }
  }
#undef AT
}

es_status es_softmax(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *out = op->out[0];
  if (!x || !x->rank || !x->count || x->type != out->type || x->count != out->count)
    return es_misfit(l, s, "its tensors differ in type or shape");
  op->n[1] = (size_t)x->dims[x->rank - 1];
  op->n[0] = x->count / op->n[1];
  const float beta = s->code == 50 ? 1.0f : es_field_f32(s->reader, s->options, 0, 0);
  op->axis = s->code == 50;
  op->scale[0] = beta;
  op->run = softmax_f32;
  if (x->type == ES_F32) return ES_OK;
  if (!es_is_quantized(x) || !es_is_quantized(out) || s->code == 50)
    return es_misfit(l, s, "its tensors' type is not known here");
  op->scale[0] = beta * x->scales[0];
  op->scale[1] = out->scales[0];
  op->zero[2] = out->zero_point;
  op->low = -3.4e38f;
  op->high = 3.4e38f;
  es_stored_limits(out, &op->low, &op->high);
  op->run = softmax_integers;
  if (x->type == ES_I16) return ES_OK;
  double *exps = es_take(l, 256 * sizeof *exps);
  if (!exps) return l->status;
  for (int i = 0; i < 256; i++) exps[i] = difference(op, -i);
  op->packed = exps;
  op->run = softmax_i8;
  return ES_OK;
}

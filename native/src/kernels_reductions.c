/* SPDX-License-Identifier: Apache-2.0 */
/* SUM, MEAN and SOFTMAX. */
#include "instruction_set.h"
#include "kernels.h"
#include "run_reductions.h"

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

const es_named_kernel es_reduction_kernels[] = {
    ES_NAMED(scattered_sum_f32), ES_NAMED(scattered_sum_integers), ES_NAMED(softmax_f32),
    ES_NAMED(softmax_i8),        ES_NAMED(softmax_integers),       {NULL, NULL}};

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
  const es_elementwise *fast = l->instructions->elementwise;
  const bool one_axis = along_one_axis(x, reduced, op);
  if (!one_axis) {
    op->n[0] = x->count;
    op->n[1] = sums;
    op->n[2] = length;
  }
  op->scale[0] = s->code == 40 ? 1.0f / (float)length : 1.0f;
  op->run = one_axis ? fast->sum_f32 : scattered_sum_f32;
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
  op->run = one_axis && x->type == ES_I8 ? fast->sum_i8 : scattered_sum_integers;
  return ES_OK;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that move values without computing: at load each becomes a list of runs of bytes. */
#include "instruction_set.h"
#include "kernels.h"
#include "run_gather.h"

void es_move(const es_op *op, char *block) {
  for (size_t i = 0; i < op->run_count; i++) {
    const es_run *run = &op->runs[i];
    memcpy((char *)es_at(run->to, block) + run->to_byte,
           (char *)es_at(run->from, block) + run->from_byte, run->bytes);
  }
}

/* Add `bytes` to the operator's runs, joined to the last one if they follow it on both sides. */
static void add_run(es_op *op, es_run *runs, const es_tensor *from, size_t from_byte,
                    const es_tensor *to, size_t to_byte, size_t bytes) {
  es_run *last = op->run_count ? &runs[op->run_count - 1] : NULL;
  if (last && last->from == from && last->to == to && last->from_byte + last->bytes == from_byte &&
      last->to_byte + last->bytes == to_byte) {
    last->bytes += bytes;
    return;
  }
  runs[op->run_count++] = (es_run){from, to, from_byte, to_byte, bytes};
}

/* Make the runs of an operator whose every output element is the input's at
 * begin + sum of place * stride, with a stride for each of the output's axes, in elements. */
static es_status move_by_strides(es_loader *l, es_op *op, es_source *s, const es_tensor *from,
                                 int64_t begin, const int64_t *strides) {
  const es_tensor *out = op->out[0];
  const size_t size = es_type_bytes(out->type);
  es_run *runs = es_take(l, (out->count + 1) * sizeof *runs);
  if (!runs) return l->status;
  int32_t places[ES_MAX_RANK] = {0};
  int64_t at = begin;
  for (size_t i = 0; i < out->count; i++) {
    if (at < 0 || (size_t)at >= from->count) return es_misfit(l, s, "it reads outside of its input");
    add_run(op, runs, from, (size_t)at * size, out, i * size, size);
    for (int axis = out->rank - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++places[axis] < out->dims[axis]) break;
      at -= strides[axis] * out->dims[axis];
      places[axis] = 0;
    }
  }
  op->runs = runs;
  op->run = es_move;
  return ES_OK;
}

static void row_strides(const es_tensor *t, int64_t *strides) {
  int64_t stride = 1;
  for (int axis = t->rank - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= t->dims[axis];
  }
}

static es_status same_type(es_loader *l, es_op *op, es_source *s, const es_tensor *x) {
  for (int i = 0; i < op->out_count; i++)
    if (!x || !es_same_grid(x, op->out[i]))
      return es_misfit(l, s, "its tensors differ in type or grid");
  return ES_OK;
}

es_status es_reshape(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *out = op->out[0];
  if (same_type(l, op, s, x)) return l->status;
  if (x->count != out->count) return es_misfit(l, s, "its shapes do not fit");
  es_run *runs = es_take(l, sizeof *runs);
  if (!runs) return l->status;
  add_run(op, runs, x, 0, out, 0, x->bytes);
  op->runs = runs;
  op->run = es_move;
  return ES_OK;
}

static bool axis_of(const es_tensor *t, int64_t given, int *axis) {
  *axis = (int)(given < 0 ? given + t->rank : given);
  return given >= -t->rank && given < t->rank;
}

/* Whether two tensors differ along one axis at the most. */
static bool alike_but(const es_tensor *a, const es_tensor *b, int axis) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (i != axis && a->dims[i] != b->dims[i]) return false;
  return true;
}

/* Cut `whole` along an axis into `parts`, or join them, a run for each row before the axis. */
static es_status along_axis(es_loader *l, es_op *op, es_source *s, const es_tensor *whole,
                            es_tensor **parts, int count, int axis, bool join) {
  const size_t size = es_type_bytes(whole->type);
  size_t rows = 1, inner = size;
  for (int i = 0; i < axis; i++) rows *= (size_t)whole->dims[i];
  for (int i = axis + 1; i < whole->rank; i++) inner *= (size_t)whole->dims[i];
  const size_t row = inner * (size_t)whole->dims[axis];
  es_run *runs = es_take(l, (rows * (size_t)count + 1) * sizeof *runs);
  if (!runs) return l->status;
  size_t begin = 0;
  for (int p = 0; p < count; p++) {
    if (!parts[p] || !alike_but(whole, parts[p], axis)) return es_misfit(l, s, "its parts do not fit");
    if (!es_same_grid(whole, parts[p])) return es_misfit(l, s, "its parts are on different grids");
    const size_t own = inner * (size_t)parts[p]->dims[axis];
    if (begin + own > row) return es_misfit(l, s, "its parts are larger than the whole");
    for (size_t r = 0; r < rows && own; r++) {
      if (join) add_run(op, runs, parts[p], r * own, whole, r * row + begin, own);
      else add_run(op, runs, whole, r * row + begin, parts[p], r * own, own);
    }
    begin += own;
  }
  if (begin != row) return es_misfit(l, s, "its parts are smaller than the whole");
  op->runs = runs;
  op->run = es_move;
  return ES_OK;
}

es_status es_split(es_loader *l, es_op *op, es_source *s) {
  int64_t given[ES_MAX_RANK];
  int count, axis;
  if (!op->in[1] || !es_integers(op->in[0], given, &count) || count != 1 ||
      !axis_of(op->in[1], given[0], &axis))
    return es_misfit(l, s, "its axis is not known here");
  op->axis = axis;
  return along_axis(l, op, s, op->in[1], op->out, op->out_count, axis, false);
}

es_status es_concatenation(es_loader *l, es_op *op, es_source *s) {
  int axis;
  if (es_field_i8(s->reader, s->options, 1, 0)) return es_misfit(l, s, "it has an activation");
  if (!axis_of(op->out[0], es_field_i32(s->reader, s->options, 0, 0), &axis))
    return es_misfit(l, s, "its axis is not known here");
  return along_axis(l, op, s, op->out[0], op->in, op->in_count, axis, true);
}

es_status es_slice(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *out = op->out[0];
  int64_t begins[ES_MAX_RANK], sizes[ES_MAX_RANK], strides[ES_MAX_RANK], begin = 0;
  int count, others;
  if (same_type(l, op, s, x)) return l->status;
  if (!es_integers(op->in[1], begins, &count) || !es_integers(op->in[2], sizes, &others) ||
      count != x->rank || others != x->rank || out->rank != x->rank)
    return es_misfit(l, s, "its limits are not known here");
  row_strides(x, strides);
  for (int i = 0; i < x->rank; i++) {
    int64_t length = sizes[i] == -1 ? x->dims[i] - begins[i] : sizes[i];
    if (begins[i] < 0 || length != out->dims[i] || begins[i] + length > x->dims[i])
      return es_misfit(l, s, "it reads outside of its input");
    begin += begins[i] * strides[i];
  }
  return move_by_strides(l, op, s, x, begin, strides);
}

es_status es_strided_slice(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *out = op->out[0];
  int64_t begins[ES_MAX_RANK], ends[ES_MAX_RANK], steps[ES_MAX_RANK];
  int64_t strides[ES_MAX_RANK], moved[ES_MAX_RANK], begin = 0;
  int counts[3], axes = 0;
  if (same_type(l, op, s, x)) return l->status;
  if (!es_integers(op->in[1], begins, &counts[0]) || !es_integers(op->in[2], ends, &counts[1]) ||
      !es_integers(op->in[3], steps, &counts[2]) || counts[0] > x->rank ||
      counts[0] != counts[1] || counts[0] != counts[2])
    return es_misfit(l, s, "its limits are not known here");
  int32_t masks[5];
  for (unsigned i = 0; i < 5; i++) masks[i] = es_field_i32(s->reader, s->options, i, 0);
  if (masks[2] || masks[3]) return es_misfit(l, s, "one of its masks is not known here");
  row_strides(x, strides);
  for (int i = 0; i < x->rank; i++) {
    const int64_t length = x->dims[i];
    int64_t step = i < counts[0] ? steps[i] : 1, from = i < counts[0] ? begins[i] : 0;
    if (step == 0) return es_misfit(l, s, "its stride is 0");
    if (from < 0) from += length;
    if (i >= counts[0] || masks[0] >> i & 1) from = step > 0 ? 0 : length - 1;
    begin += from * strides[i];
    if (i < counts[0] && masks[4] >> i & 1) continue; /* a single place; the axis goes */
    if (axes == out->rank) return es_misfit(l, s, "its output has fewer axes");
    moved[axes++] = step * strides[i];
  }
  if (axes != out->rank) return es_misfit(l, s, "its output has more axes");
  return move_by_strides(l, op, s, x, begin, moved);
}

es_status es_transpose(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *out = op->out[0];
  int64_t order[ES_MAX_RANK], strides[ES_MAX_RANK], moved[ES_MAX_RANK];
  int count;
  if (same_type(l, op, s, x)) return l->status;
  if (!es_integers(op->in[1], order, &count) || count != x->rank || out->rank != x->rank ||
      out->count != x->count)
    return es_misfit(l, s, "its order is not known here");
  row_strides(x, strides);
  for (int i = 0; i < count; i++) {
    if (order[i] < 0 || order[i] >= count || out->dims[i] != x->dims[order[i]])
      return es_misfit(l, s, "its order does not fit its shapes");
    moved[i] = strides[order[i]];
  }
  return move_by_strides(l, op, s, x, 0, moved);
}

const es_named_kernel es_gather_kernels[] = {ES_NAMED(gather), {NULL, NULL}};

es_status es_gather(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *table = op->in[0], *positions = op->in[1], *out = op->out[0];
  int axis;
  if (same_type(l, op, s, table)) return l->status;
  if (!positions || (positions->type != ES_I32 && positions->type != ES_I64))
    return es_misfit(l, s, "its positions are not integers");
  if (es_field_i32(s->reader, s->options, 1, 0) ||
      !axis_of(table, es_field_i32(s->reader, s->options, 0, 0), &axis))
    return es_misfit(l, s, "its axis is not known here");
  op->n[0] = 1;
  op->n[1] = (size_t)table->dims[axis];
  op->n[2] = es_type_bytes(table->type);
  op->n[3] = positions->count;
  for (int i = 0; i < axis; i++) op->n[0] *= (size_t)table->dims[i];
  for (int i = axis + 1; i < table->rank; i++) op->n[2] *= (size_t)table->dims[i];
  if (!op->n[1] || out->bytes != op->n[0] * op->n[2] * op->n[3])
    return es_misfit(l, s, "its shapes do not fit");
  op->run = gather;
  return ES_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a step's values lie in a stream's block. */
#include "kernels.h"

/* The tensor in which a value lies, and where in it. */
static es_tensor *home_of(es_tensor *t, size_t *byte) {
  *byte = 0;
  for (; t->within; t = t->within) *byte += t->within_byte;
  return t;
}

/* A value that is a stretch of another one is not copied, but read there. What a caller sees has
 * its own place: a state's changes after a step. */
static bool lies_within(const es_op *op) {
  if (op->code == ES_CODE_NONE || !op->runs || op->run_count != (size_t)op->out_count) return false;
  for (size_t i = 0; i < op->run_count; i++) {
    const es_run *run = &op->runs[i];
    if (run->to != op->out[i] || run->bytes != run->to->bytes || run->to_byte ||
        run->from->constant || run->to->last_reader == ES_ALWAYS)
      return false;
  }
  return true;
}

static void place_within(es_graph *g) {
  size_t kept = 0;
  for (size_t i = 0; i < g->op_count; i++) {
    const es_op *op = &g->ops[i];
    if (!lies_within(op)) {
      g->ops[kept++] = *op;
      continue;
    }
    for (size_t r = 0; r < op->run_count; r++) {
      const es_run *run = &op->runs[r];
      es_tensor *to = (es_tensor *)(uintptr_t)run->to;
      to->within = (es_tensor *)(uintptr_t)run->from;
      to->within_byte = run->from_byte;
    }
  }
  g->op_count = kept;
}

static void last_readers(es_graph *g) {
  size_t byte;
  for (size_t i = 0; i < g->tensor_count; i++)
    if (g->tensors[i].last_reader != ES_ALWAYS) g->tensors[i].last_reader = -1;
  for (size_t i = 0; i < g->op_count; i++)
    for (int n = 0; n < g->ops[i].in_count; n++) {
      if (!g->ops[i].in[n]) continue;
      es_tensor *home = home_of(g->ops[i].in[n], &byte);
      if (home->last_reader != ES_ALWAYS) home->last_reader = (int)i;
    }
}

/* Values alive, by their offsets. */
typedef struct {
  size_t offset, bytes;
  const es_tensor *tensor;
} es_place;

/* The first gap among those alive that is large enough. */
static void place(const es_loader *l, es_place *alive, size_t *count, es_tensor *t, size_t *end) {
  const size_t alignment = l->alignment;
  size_t bytes = (t->bytes + alignment - 1) / alignment * alignment, at = *end, i = 0;
  for (size_t offset = l->model->block_bytes; i <= *count; i++) {
    size_t next = i < *count ? alive[i].offset : SIZE_MAX;
    if (next - offset >= bytes) {
      at = offset;
      break;
    }
    offset = alive[i].offset + alive[i].bytes;
  }
  memmove(&alive[i + 1], &alive[i], (*count - i) * sizeof *alive);
  alive[i] = (es_place){at, bytes, t};
  ++*count;
  t->offset = at;
  if (at + bytes > *end) *end = at + bytes;
}

es_status es_plan(es_loader *l, es_graph *g) {
  es_model *m = l->model;
  es_place *alive = es_take(l, (g->tensor_count + 1) * sizeof *alive);
  if (!alive) return l->status;
  place_within(g);
  last_readers(g);
  size_t count = 0, end = m->block_bytes;
  for (size_t i = 0; i < g->tensor_count; i++) /* what a caller sees is there at any time */
    if (g->tensors[i].last_reader == ES_ALWAYS && !g->tensors[i].constant)
      place(l, alive, &count, &g->tensors[i], &end);
  for (size_t i = 0; i < g->op_count; i++) {
    es_op *op = &g->ops[i];
    for (int o = 0; o < op->out_count; o++)
      if (op->out[o]->last_reader != ES_ALWAYS && !op->out[o]->constant)
        place(l, alive, &count, op->out[o], &end);
    size_t kept = 0;
    for (size_t p = 0; p < count; p++)
      if (alive[p].tensor->last_reader > (int)i) alive[kept++] = alive[p];
    count = kept;
  }
  for (size_t i = 0; i < g->tensor_count; i++) {
    size_t byte;
    const es_tensor *home = home_of(&g->tensors[i], &byte);
    if (home != &g->tensors[i]) g->tensors[i].offset = home->offset + byte;
  }
  m->block_bytes = end;
  return l->status;
}

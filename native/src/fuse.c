/* SPDX-License-Identifier: Apache-2.0 */
/* Fewer operators that compute the same.
 *
 * Every FULLY_CONNECTED becomes a product of packed weights. While it is the only thing that reads a
 * value which nobody else sees, a SPLIT cuts a product into several, an ADD or SUB of two makes one of
 * two terms, and a function of one value goes into it. So the gates of any recurrent cell are
 * computed in one pass over their weights, and no shape of graph has to be known: a graph that is a
 * little different is only fused a little less. Products are computed as soon as their inputs are
 * there, several in one operator.
 */
#include "products_plan.h"

typedef struct {
  es_graph *graph;
  es_part *parts;
  size_t count;
  bool *dropped; /* by operator: what it does is done in a product */
} fusion;

static void count_readers(es_graph *g) {
  for (size_t i = 0; i < g->tensor_count; i++) g->tensors[i].writer = -1;
  for (size_t i = 0; i < g->op_count; i++) {
    const es_op *op = &g->ops[i];
    for (int n = 0; n < op->in_count; n++)
      if (op->in[n]) op->in[n]->readers++;
    for (int n = 0; n < op->out_count; n++) op->out[n]->writer = (int)i;
  }
}

/* The product that computes a value which one operator alone reads; NULL if there is none. */
static es_part *only_read_here(const es_tensor *t) {
  return t && t->part && t->readers == 1 && t->last_reader != ES_ALWAYS ? t->part : NULL;
}

static es_part *new_part(fusion *f, es_part part) {
  es_part *made = &f->parts[f->count++];
  *made = part;
  made->out->part = made;
  return made;
}

static void drop(es_part *part) {
  part->dropped = true;
  part->out->part = NULL;
}

static void take_connected(fusion *f, const es_op *op) {
  const es_connected *c = op->packed;
  new_part(f, (es_part){.terms = {{c, 0, 1}}, .term_count = 1, .units = c->units, .low = c->low,
                        .high = c->high, .zero = c->zero, .out = op->out[0]});
}

/* Cut a product's units along the last axis. */
static bool take_split(fusion *f, const es_op *op) {
  const es_tensor *whole = op->in[1];
  es_part *part = only_read_here(whole);
  if (!part || op->axis != whole->rank - 1 || (size_t)whole->dims[op->axis] != part->units)
    return false;
  for (int i = 0; i < op->out_count; i++)
    if (!op->out[i]->count) return false;
  const es_part from = *part;
  drop(part);
  size_t first = 0;
  for (int i = 0; i < op->out_count; i++) {
    es_part cut = from;
    cut.out = op->out[i];
    cut.units = (size_t)cut.out->dims[op->axis];
    for (int t = 0; t < cut.term_count; t++) cut.terms[t].first += first;
    first += cut.units;
    new_part(f, cut);
  }
  return true;
}

static bool has_no_limits(const es_part *part) {
  return part->low == -3.4e38f && part->high == 3.4e38f;
}

/* Make one product of the sum of two. */
static bool take_sum(fusion *f, const es_op *op) {
  es_part *a = only_read_here(op->in[0]), *b = only_read_here(op->in[1]);
  if (!a || !b || op->n[1] != ES_ALIKE || a->term_count > 1 || b->term_count > 1 ||
      a->activation || b->activation || a->units != b->units)
    return false;
  const es_connected *ca = a->terms[0].connected, *cb = b->terms[0].connected;
  if (ca->kind != cb->kind || ca->rows != cb->rows || ca->kind == ES_SUM_I16) return false;
  es_part sum = *a;
  sum.out = op->out[0];
  if (ca->kind == ES_SUM_I8) {
    sum.terms[0].step = op->scale[0];
    sum.terms[1] = (es_part_term){cb, b->terms[0].first, op->scale[1]};
  } else {
    if (op->code != ES_CODE_ADD || !has_no_limits(a) || !has_no_limits(b)) return false;
    sum.terms[1] = b->terms[0];
  }
  sum.term_count = 2;
  sum.low = op->low;
  sum.high = op->high;
  sum.zero = op->zero[2];
  drop(a);
  drop(b);
  new_part(f, sum);
  return true;
}

/* Compute a function of one value where its argument is computed. */
static bool take_function(const es_op *op) {
  es_part *part = only_read_here(op->in[0]);
  if (!part || part->activation) return false;
  const bool real = op->in[0]->type == ES_F32;
  if (real && op->code != ES_CODE_LOGISTIC && op->code != ES_CODE_TANH) return false;
  if (!real && !op->table) return false;
  part->activation = !real ? ES_TABLE : op->code == ES_CODE_TANH ? ES_TANH : ES_LOGISTIC;
  part->table = op->table;
  part->out->part = NULL;
  part->out = op->out[0];
  part->out->part = part;
  return true;
}

static bool take(fusion *f, const es_op *op) {
  if (op->code == ES_CODE_FULLY_CONNECTED) {
    take_connected(f, op);
    return true;
  }
  if (op->code == ES_CODE_SPLIT) return take_split(f, op);
  if (op->code == ES_CODE_ADD || op->code == ES_CODE_SUB) return take_sum(f, op);
  return op->in_count == 1 && op->out_count == 1 && take_function(op);
}

/* When a product's inputs are there: before which operator, after how many products there. */
static void schedule(es_part *part) {
  part->slot = part->level = 0;
  for (int t = 0; t < part->term_count; t++) {
    const es_tensor *x = part->terms[t].connected->x;
    const size_t slot = x->part ? x->part->slot : (size_t)(x->writer + 1);
    const size_t level = x->part ? x->part->level + 1 : 0;
    if (slot > part->slot || (slot == part->slot && level > part->level)) {
      part->slot = slot;
      part->level = level;
    }
  }
}

static es_status emit_products(es_loader *l, fusion *f, es_part **chosen, size_t slot, es_op *ops,
                               size_t *op_count) {
  for (size_t level = 0;; level++) {
    size_t count = 0, later = 0;
    for (size_t i = 0; i < f->count; i++) {
      es_part *part = &f->parts[i];
      if (part->dropped || part->slot != slot) continue;
      if (part->level == level) chosen[count++] = part;
      later += part->level > level;
    }
    if (count && es_plan_products(l, &ops[(*op_count)++], chosen, count)) return l->status;
    if (!later) return ES_OK;
  }
}

es_status es_fuse(es_loader *l, es_graph *g) {
  size_t most = 1;
  for (size_t i = 0; i < g->op_count; i++) most += (size_t)g->ops[i].out_count;
  fusion f = {g, es_take(l, most * sizeof *f.parts), 0, es_take(l, g->op_count + 1)};
  es_part **chosen = es_take(l, most * sizeof *chosen);
  es_op *ops = es_take(l, (g->op_count + most) * sizeof *ops);
  if (l->status) return l->status;
  count_readers(g);
  for (size_t i = 0; i < g->op_count; i++) f.dropped[i] = take(&f, &g->ops[i]);
  for (size_t i = 0; i < f.count; i++)
    if (!f.parts[i].dropped) schedule(&f.parts[i]);
  size_t count = 0;
  for (size_t i = 0; i <= g->op_count; i++) {
    if (emit_products(l, &f, chosen, i, ops, &count)) return l->status;
    if (i < g->op_count && !f.dropped[i] && g->ops[i].run) ops[count++] = g->ops[i];
  }
  g->ops = ops;
  g->op_count = count;
  return ES_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded model's plan as JSON. */
#include "describe.h"

#include "products_plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct {
  char *at;
  size_t size, used;
} text;

static void put(text *t, const char *format, ...) {
  va_list values;
  va_start(values, format);
  char *at = t->used < t->size ? t->at + t->used : NULL;
  const int length = vsnprintf(at, at ? t->size - t->used : 0, format, values);
  va_end(values);
  if (length > 0) t->used += (size_t)length;
}

/* What stands between the members of a list. */
static const char *comma(size_t index) { return index ? ", " : ""; }

static void put_address(text *t, const char *name, const void *at) {
  put(t, ", \"%s\": %" PRIuPTR, name, (uintptr_t)at);
}

static void put_place(text *t, const es_tensor *x) {
  static const char *const types[] = {"float32", "float16", "int8", "int16", "int32", "int64"};
  put(t, "{\"type\": \"%s\", \"count\": %zu, \"offset\": %zu", types[x->type], x->count, x->offset);
  put_address(t, "constant", x->constant);
  put(t, "}");
}

static void put_places(text *t, const char *name, es_tensor *const *list, size_t count) {
  put(t, "\"%s\": [", name);
  for (size_t i = 0; i < count; i++) {
    put(t, "%s", comma(i));
    if (list[i]) put_place(t, list[i]);
    else put(t, "null");
  }
  put(t, "]");
}

static void put_run(text *t, size_t index, const es_run *run) {
  put(t, "%s{\"from\": ", comma(index));
  put_place(t, run->from);
  put(t, ", \"to\": ");
  put_place(t, run->to);
  put(t, ", \"from_byte\": %zu, \"to_byte\": %zu, \"bytes\": %zu}", run->from_byte, run->to_byte,
      run->bytes);
}

static void put_term(text *t, const es_product *p, const es_planned *planned, int number) {
  const es_term *term = &p->terms[number];
  put(t, "%s{\"width\": %zu, \"stride\": %zu, \"low\": %.9g, \"high\": %.9g, \"step\": %.9g",
      comma((size_t)number), term->width, term->stride, (double)term->low, (double)term->high,
      (double)term->step);
  put_address(t, "weights", term->weights);
  put_address(t, "bias", term->bias);
  put_address(t, "scales", term->scales);
  put(t, ", \"x\": ");
  put_place(t, planned->x[number]);
  put(t, "}");
}

static void put_product(text *t, size_t index, const es_planned *planned) {
  const es_product *p = &planned->product;
  const char *kernel = es_portable_product(planned->kernel);
  put(t, "%s{\"kernel\": \"%s\", \"units\": %zu, \"padded\": %zu, \"rows\": %zu, \"stride\": %zu",
      comma(index), kernel ? kernel : "", p->units,
      es_padded(p->units, es_products_portable.vector), p->rows, p->stride);
  put(t, ", \"low\": %.9g, \"high\": %.9g, \"zero\": %" PRId32 ", \"activation\": %d",
      (double)p->low, (double)p->high, p->zero, (int)p->activation);
  put_address(t, "table", p->table);
  put(t, ", \"terms\": [");
  for (int i = 0; i < p->term_count; i++) put_term(t, p, planned, i);
  put(t, "], \"out\": ");
  put_place(t, planned->out);
  put(t, "}");
}

static const char *kernel_name(es_kernel run) {
  const es_named_kernel *const lists[] = {es_portable_kernels, es_function_kernels,
                                          es_reduction_kernels, es_gather_kernels,
                                          es_matmul_kernels};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    for (const es_named_kernel *named = lists[i]; named->run; named++)
      if (named->run == run) return named->name;
  return "";
}

/* How many whole numbers each of an operator's two lists has. */
static size_t index_count(const es_op *op, const char *kernel) {
  if (!op->index[0]) return 0;
  if (!strncmp(kernel, "scattered", 9)) return op->in[0]->count;
  return !strcmp(kernel, "batch_matmul") ? 3 : op->n[2];
}

static void put_general(text *t, const es_op *op) {
  const char *kernel = kernel_name(op->run), *function = es_function_name(op->function);
  put(t, "{\"kernel\": \"%s\", ", kernel);
  put_places(t, "in", op->in, (size_t)op->in_count);
  put(t, ", ");
  put_places(t, "out", op->out, (size_t)op->out_count);
  put(t, ", \"n\": [%zu, %zu, %zu, %zu]", op->n[0], op->n[1], op->n[2], op->n[3]);
  put(t, ", \"low\": %.9g, \"high\": %.9g", (double)op->low, (double)op->high);
  put(t, ", \"scale\": [%.9g, %.9g, %.9g]", (double)op->scale[0], (double)op->scale[1],
      (double)op->scale[2]);
  put(t, ", \"zero\": [%" PRId32 ", %" PRId32 ", %" PRId32 "], \"axis\": %" PRId32, op->zero[0],
      op->zero[1], op->zero[2], op->axis);
  put(t, ", \"function\": \"%s\", \"parameter\": %.17g", function ? function : "", op->parameter);
  put_address(t, "packed", op->packed);
  put_address(t, "table", op->table);
  put(t, ", \"index_count\": %zu", index_count(op, kernel));
  put_address(t, "index", op->index[0]);
  put_address(t, "index_b", op->index[1]);
  put(t, "}");
}

static void put_operator(text *t, size_t index, const es_op *op) {
  put(t, "%s", comma(index));
  const bool products = op->code == ES_CODE_NONE;
  if (!products && op->run != es_move) {
    put_general(t, op);
    return;
  }
  put(t, "{\"kernel\": \"%s\", \"runs\": [", products ? "products" : "move");
  for (size_t i = 0; i < op->run_count; i++) put_run(t, i, &op->runs[i]);
  put(t, "], \"products\": [");
  const es_planned *planned = op->packed;
  for (size_t i = 0; products && i < op->n[0]; i++) put_product(t, i, &planned[i]);
  put(t, "]}");
}

static void put_phase(text *t, const es_model *m, int number) {
  const es_phase *phase = &m->phases[number];
  put(t, "%s{", comma((size_t)number));
  put_places(t, "inputs", phase->inputs, m->input_count);
  put(t, ", ");
  put_places(t, "outputs", phase->outputs, m->output_count);
  put(t, ", ");
  put_places(t, "states", phase->states, m->state_count);
  put(t, ", \"carries\": [");
  for (size_t i = 0; i < phase->carry_count; i++) {
    const es_carry *c = &phase->carries[i];
    put_run(t, i, &(es_run){c->from, c->to, 0, 0, c->from->bytes});
  }
  put(t, "], \"operators\": [");
  size_t count = 0;
  for (size_t i = 0; i < phase->graph.op_count; i++)
    if (phase->graph.ops[i].run) put_operator(t, count++, &phase->graph.ops[i]);
  put(t, "]}");
}

size_t es_describe(const es_model *m, char *buffer, size_t size) {
  text t = {buffer, size, 0};
  put(&t, "{\"block_bytes\": %zu, \"cycle\": %d, \"first_phase\": %d, \"phase_of\": [",
      m->block_bytes, m->cycle, m->first_phase);
  for (int i = 0; i < m->cycle; i++) put(&t, "%s%d", comma((size_t)i), m->phase_of[i]);
  put(&t, "], \"initial\": [");
  for (size_t i = 0; i < m->state_count; i++)
    put(&t, "%s%" PRIuPTR, comma(i), (uintptr_t)m->states[i].initial);
  put(&t, "], \"phases\": [");
  for (int i = 0; i < m->phase_count; i++) put_phase(&t, m, i);
  put(&t, "]}");
  return t.used;
}

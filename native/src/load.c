/* SPDX-License-Identifier: Apache-2.0 */
/* From the bytes of a file to a model: tensors, operators, the plan of a stream's block. */
#include "describe.h"
#include "instruction_set.h"
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

struct es_chunk {
  struct es_chunk *next;
};

void *es_take(es_loader *l, size_t bytes) {
  size_t header = ES_ALIGNMENT;
  const bool fits = bytes < l->most && l->model->own_bytes < l->most - bytes;
  if (fits) bytes = (bytes + header + ES_ALIGNMENT - 1) / ES_ALIGNMENT * ES_ALIGNMENT;
  struct es_chunk *chunk = fits ? aligned_alloc(ES_ALIGNMENT, bytes) : NULL;
  if (!chunk) {
    es_fail(l, ES_NO_MEMORY, "no memory for %zu bytes of the model", bytes);
    return NULL;
  }
  memset(chunk, 0, bytes);
  l->model->own_bytes += bytes;
  chunk->next = l->model->chunks;
  l->model->chunks = chunk;
  return (char *)chunk + header;
}

es_status es_fail(es_loader *l, es_status status, const char *format, ...) {
  if (l->status != ES_OK) return l->status; /* the first error is the cause */
  l->status = status;
  if (l->why) {
    va_list values;
    va_start(values, format);
    vsnprintf(l->why, ES_MESSAGE_BYTES, format, values);
    va_end(values);
    for (char *c = l->why; *c; c++)
      if ((unsigned char)*c < ' ' || (unsigned char)*c > '~') *c = '?';
  }
  return status;
}

void es_free(es_model *model) {
  if (!model) return;
  for (struct es_chunk *chunk = model->chunks, *next; chunk; chunk = next) {
    next = chunk->next;
    free(chunk);
  }
  free(model);
}

/* FLOAT32, FLOAT16, INT32, UINT8, INT64, STRING, BOOL, INT16, COMPLEX64, INT8 in the schema. */
static int known_type(int code) {
  static const int8_t types[] = {ES_F32, ES_F16, ES_I32, -1, ES_I64, -1, -1, ES_I16, -1, ES_I8};
  return code >= 0 && code < (int)sizeof types ? types[code] : -1;
}

typedef struct {
  es_reader *r;
  es_table model;
  es_vector buffers, codes;
} es_file;

static es_status read_constant(es_loader *l, es_file *f, es_tensor *t, uint32_t number) {
  es_reader *r = f->r;
  if (number >= f->buffers.count) return es_fail(l, ES_BAD_MODEL, "a tensor's buffer is missing");
  es_table buffer = es_element(r, f->buffers, number);
  es_vector data = es_field_vector(r, buffer, 0, 1);
  size_t at = es_field(r, buffer, 1), size_at = es_field(r, buffer, 2);
  if (!data.count && at && size_at) { /* large files keep weights behind the flatbuffer */
    uint64_t start = es_read_u64(r, at), size = es_read_u64(r, size_at);
    if (start > 1 && (start > r->bytes || size > r->bytes - start))
      return es_fail(l, ES_BAD_MODEL, "a tensor's weights reach past the end of the file");
    if (start > 1) data = (es_vector){(size_t)start, (size_t)size};
  }
  if (!data.count) return l->status;
  if (data.count != t->bytes)
    return es_fail(l, ES_BAD_MODEL, "a tensor needs %zu bytes, its buffer has %zu", t->bytes,
                   data.count);
  void *copy = es_take(l, t->bytes);
  if (!copy) return l->status;
  memcpy(copy, r->data + data.at, t->bytes);
  t->constant = copy;
  return l->status;
}

static es_status read_quantization(es_loader *l, es_reader *r, es_tensor *t, es_table q) {
  es_vector scales = es_field_vector(r, q, 2, 4), zeros = es_field_vector(r, q, 3, 8);
  t->axis = es_field_i32(r, q, 6, 0);
  if (!scales.count) return ES_OK;
  if (zeros.count && zeros.count != scales.count)
    return es_fail(l, ES_BAD_MODEL, "a tensor has more scales than zero points");
  float *copy = es_take(l, scales.count * sizeof *copy);
  if (!copy) return l->status;
  for (size_t i = 0; i < scales.count; i++) {
    copy[i] = es_read_f32(r, scales.at + 4 * i);
    if (!(copy[i] > 0 && copy[i] < 1e30f)) return es_fail(l, ES_BAD_MODEL, "a scale is not positive");
    int64_t zero = zeros.count ? es_read_i64(r, zeros.at + 8 * i) : 0;
    if (zero < -32768 || zero > 32767 || (zero && scales.count > 1))
      return es_fail(l, ES_BAD_MODEL, "a zero point is out of range");
    t->zero_point = (int32_t)zero;
  }
  t->scales = copy;
  t->scale_count = scales.count;
  return l->status;
}

static es_status read_tensor(es_loader *l, es_file *f, es_tensor *t, es_table table) {
  es_reader *r = f->r;
  int type = known_type(es_field_i8(r, table, 1, 0));
  es_vector shape = es_field_vector(r, table, 0, 4);
  if (type < 0) return es_fail(l, ES_UNSUPPORTED, "a tensor's type is not known here");
  if (shape.count > ES_MAX_RANK)
    return es_fail(l, ES_UNSUPPORTED, "a tensor has %zu axes", shape.count);
  if (es_field_table(r, table, 6).at)
    return es_fail(l, ES_UNSUPPORTED, "a tensor's weights are stored sparsely");
  if (es_field_i8(r, table, 5, 0)) return es_fail(l, ES_UNSUPPORTED, "a tensor is a variable");
  t->type = (es_type)type;
  t->rank = (int)shape.count;
  t->count = 1;
  for (int i = 0; i < t->rank; i++) {
    t->dims[i] = es_read_i32(r, shape.at + 4 * (size_t)i);
    if (t->dims[i] < 0 || (size_t)t->dims[i] > ES_MAX_ELEMENTS)
      return es_fail(l, ES_UNSUPPORTED, "a tensor's shape is open, or too large");
    t->count *= (size_t)t->dims[i];
    if (t->count > ES_MAX_ELEMENTS) return es_fail(l, ES_UNSUPPORTED, "a tensor is too large");
  }
  es_vector open = es_field_vector(r, table, 7, 4);
  for (size_t i = 0; i < open.count; i++)
    if (es_read_i32(r, open.at + 4 * i) < 0)
      return es_fail(l, ES_UNSUPPORTED, "a tensor's shape is open");
  t->bytes = t->count * es_type_bytes(t->type);
  t->last_reader = -1;
  es_table q = es_field_table(r, table, 4);
  if (q.at && read_quantization(l, r, t, q)) return l->status;
  return read_constant(l, f, t, es_field_u32(r, table, 2, 0));
}

/* Bind an operator's tensors; NULL is an input that is left out. */
static es_status bind(es_loader *l, es_reader *r, es_graph *g, es_vector from, es_tensor ***to,
                      int *count) {
  if (from.count > 4096) return es_fail(l, ES_UNSUPPORTED, "an operator has too many tensors");
  es_tensor **list = es_take(l, (from.count + 1) * sizeof *list);
  if (!list) return l->status;
  for (size_t i = 0; i < from.count; i++) {
    int32_t index = es_read_i32(r, from.at + 4 * i);
    if (index < -1 || (index >= 0 && (size_t)index >= g->tensor_count))
      return es_fail(l, ES_BAD_MODEL, "an operator names a tensor that is not there");
    list[i] = index < 0 ? NULL : &g->tensors[index];
  }
  while (from.count && !list[from.count - 1]) from.count--; /* trailing optional inputs */
  *to = list;
  *count = (int)from.count;
  return l->status;
}

static es_status read_operator(es_loader *l, es_file *f, es_graph *g, size_t number,
                               es_table table) {
  es_reader *r = f->r;
  es_op *op = &g->ops[number];
  uint32_t code = es_field_u32(r, table, 0, 0);
  if (code >= f->codes.count) return es_fail(l, ES_BAD_MODEL, "an operator's code is missing");
  es_table named = es_element(r, f->codes, code);
  int old = es_field_i8(r, named, 0, 0), builtin = es_field_i32(r, named, 3, 0);
  es_source source = {r, es_field_table(r, table, 4), old > builtin ? old : builtin,
                      (uint8_t)es_field_i8(r, table, 3, 0), ""};
  if (bind(l, r, g, es_field_vector(r, table, 1, 4), &op->in, &op->in_count)) return l->status;
  if (bind(l, r, g, es_field_vector(r, table, 2, 4), &op->out, &op->out_count)) return l->status;
  if (r->bad) return es_fail(l, ES_BAD_MODEL, "the file is damaged");
  for (int i = 0; i < op->in_count; i++) {
    es_tensor *t = op->in[i];
    if (!t) continue;
    if (!t->constant && !t->written && t->count)
      return es_fail(l, ES_BAD_MODEL, "an operator reads what nothing computes before");
    t->last_reader = (int)number;
  }
  for (int i = 0; i < op->out_count; i++) {
    if (!op->out[i] || op->out[i]->constant || op->out[i]->written)
      return es_fail(l, ES_BAD_MODEL, "an operator writes to a tensor that is already written");
    op->out[i]->written = true;
  }
  return es_prepare(l, op, &source);
}

static bool same_text(es_reader *r, es_vector text, const char *name) {
  size_t length = strlen(name);
  return text.count == length && !memcmp(r->data + text.at, name, length);
}

/* The tensor that a signature's side (1 of names, 1 of numbers) binds to a name. */
static es_tensor *bound(es_reader *r, es_graph *g, es_vector side, const es_spec *spec) {
  for (size_t i = 0; i < side.count; i++) {
    es_table item = es_element(r, side, i);
    if (!same_text(r, es_field_vector(r, item, 0, 1), spec->name)) continue;
    uint32_t index = es_field_u32(r, item, 1, 0);
    if (index < g->tensor_count) return &g->tensors[index];
  }
  return NULL;
}

static es_status matches(es_loader *l, const es_tensor *t, const es_spec *spec) {
  if (t->constant || t->type != spec->type || t->count != spec->count ||
      (spec->quantized &&
       (t->scale_count != 1 || t->scales[0] != spec->scale || t->zero_point != spec->zero_point)))
    return es_fail(l, ES_BAD_MODEL, "'%s' is another tensor in the contract", spec->name);
  return ES_OK;
}

static es_status read_graph(es_loader *l, es_file *f, es_phase *phase, es_table signature) {
  es_reader *r = f->r;
  es_model *m = l->model;
  es_graph *g = &phase->graph;
  es_vector subgraphs = es_field_vector(r, f->model, 2, 4);
  uint32_t number = es_field_u32(r, signature, 4, 0);
  if (number >= subgraphs.count) return es_fail(l, ES_BAD_MODEL, "a signature's graph is missing");
  es_table subgraph = es_element(r, subgraphs, number);
  es_vector tensors = es_field_vector(r, subgraph, 0, 4), ops = es_field_vector(r, subgraph, 3, 4);
  /* A sound file has no more tables than bytes, so a hostile one cannot ask for more memory. */
  g->tensors = es_take(l, tensors.count * sizeof *g->tensors);
  g->ops = es_take(l, ops.count * sizeof *g->ops);
  phase->inputs = es_take(l, m->input_count * sizeof *phase->inputs);
  phase->outputs = es_take(l, m->output_count * sizeof *phase->outputs);
  phase->states = es_take(l, m->state_count * sizeof *phase->states);
  if (l->status) return l->status;
  g->tensor_count = tensors.count;
  size_t constants = 0;
  for (size_t i = 0; i < tensors.count; i++) {
    if (read_tensor(l, f, &g->tensors[i], es_element(r, tensors, i))) return l->status;
    if (g->tensors[i].constant) constants += g->tensors[i].bytes;
    if (r->bad || constants > r->bytes)
      return es_fail(l, ES_BAD_MODEL, "the file is damaged: a tensor lies outside of it");
  }
  es_vector in = es_field_vector(r, signature, 0, 4), out = es_field_vector(r, signature, 1, 4);
  for (size_t i = 0; i < m->input_count + m->state_count; i++) {
    bool state = i >= m->input_count;
    es_spec *spec = state ? &m->states[i - m->input_count] : &m->inputs[i];
    es_tensor *t = bound(r, g, in, spec);
    if (!t && state && spec->period > 1) continue;
    if (!t) return es_fail(l, ES_BAD_MODEL, "the signature has no input '%s'", spec->name);
    if (t->written || matches(l, t, spec)) return es_fail(l, ES_BAD_MODEL, "two inputs are one");
    t->written = true;
    if (state) phase->states[i - m->input_count] = t;
    else phase->inputs[i] = t;
  }
  for (size_t i = 0; i < ops.count; i++) {
    g->op_count = i + 1;
    if (read_operator(l, f, g, i, es_element(r, ops, i))) return l->status;
  }
  for (size_t i = 0; i < m->output_count; i++) {
    es_tensor *t = bound(r, g, out, &m->outputs[i]);
    if (!t || !t->written)
      return es_fail(l, ES_BAD_MODEL, "the output '%s' is not computed", m->outputs[i].name);
    if (matches(l, t, &m->outputs[i])) return l->status;
    phase->outputs[i] = t;
    t->last_reader = ES_ALWAYS;
  }
  for (size_t i = 0; i < m->state_count; i++) {
    es_tensor *t = bound(r, g, out, &m->states[i]);
    if (phase->states[i]) phase->states[i]->last_reader = ES_ALWAYS;
    if (!t) continue;
    if (!t->written || matches(l, t, &m->states[i]))
      return es_fail(l, ES_BAD_MODEL, "the state '%s' is not computed", m->states[i].name);
    t->last_reader = ES_ALWAYS;
  }
  for (size_t i = 0; i < m->input_count; i++) phase->inputs[i]->last_reader = ES_ALWAYS;
  if (es_fuse(l, g)) return l->status;
  return es_plan(l, g);
}

static es_status find_signature(es_loader *l, es_file *f, const char *key, es_table *found) {
  es_vector signatures = es_field_vector(f->r, f->model, 7, 4);
  for (size_t i = 0; i < signatures.count && i < 4096; i++) {
    *found = es_element(f->r, signatures, i);
    if (same_text(f->r, es_field_vector(f->r, *found, 2, 1), key)) return ES_OK;
  }
  return es_fail(l, ES_BAD_MODEL, "the model has no signature '%s'", key);
}

es_status es_read_phase(es_loader *l, es_reader *r, int number, const char *key) {
  es_file f = {r, es_table_at(r, es_read_u32(r, 0)), {0, 0}, {0, 0}};
  f.codes = es_field_vector(r, f.model, 1, 4);
  f.buffers = es_field_vector(r, f.model, 4, 4);
  es_table signature;
  if (find_signature(l, &f, key, &signature)) return l->status;
  if (r->bad) return es_fail(l, ES_BAD_MODEL, "the file is damaged");
  return read_graph(l, &f, &l->model->phases[number], signature);
}

/* List where each state that a signature gives is read. Every signature that takes the state gets
 * it, so each one's input always holds the newest. */
static es_status carry(es_loader *l, es_reader *r, int number, const char *key) {
  es_model *m = l->model;
  es_phase *phase = &m->phases[number];
  es_file f = {r, es_table_at(r, es_read_u32(r, 0)), {0, 0}, {0, 0}};
  es_table signature;
  if (find_signature(l, &f, key, &signature)) return l->status;
  es_vector out = es_field_vector(r, signature, 1, 4);
  phase->carries =
      es_take(l, m->state_count * (size_t)m->phase_count * sizeof *phase->carries);
  if (!phase->carries) return l->status;
  for (size_t i = 0; i < m->state_count; i++) {
    es_tensor *from = bound(r, &phase->graph, out, &m->states[i]);
    if (!from) continue;
    /* Copies go one after another: none may read what another one has written. */
    for (size_t s = 0; s < m->state_count; s++)
      if (s != i && phase->states[s] == from)
        return es_fail(l, ES_UNSUPPORTED, "a state is handed on as another one");
    for (int p = 0; p < m->phase_count; p++) {
      es_tensor *to = m->phases[p].states[i];
      if (to && to != from) phase->carries[phase->carry_count++] = (es_carry){from, to};
    }
  }
  return l->status;
}

/* Find the signature of each step of a cycle: steps that update the same states share one, which is
 * called after the first of them. */
static es_status find_phases(es_loader *l) {
  es_model *m = l->model;
  for (int step = 0; step < m->cycle; step++) {
    int same = 0;
    for (; same < step; same++) {
      bool alike = true;
      for (size_t i = 0; i < m->state_count; i++)
        alike &= !(step % m->states[i].period) == !(same % m->states[i].period);
      if (alike) break;
    }
    if (same < step) {
      m->phase_of[step] = m->phase_of[same];
      continue;
    }
    if (m->phase_count == ES_MAX_PHASES) return es_fail(l, ES_UNSUPPORTED, "too many phases");
    m->first_step[m->phase_count] = step;
    m->phase_of[step] = (uint8_t)m->phase_count++;
  }
  return ES_OK;
}

static void name_of_phase(int step, char key[32]) {
  if (step) snprintf(key, 32, "step_%d", step);
  else snprintf(key, 32, "step");
}

typedef struct {
  const void *at;
  size_t count;
} es_bytes;

/* Load for an instruction set, with values aligned to so many bytes behind so many others. */
static es_status load_for(const es_instructions *instructions, size_t alignment, size_t before,
                          es_bytes flatbuffer, es_bytes contract, es_model **model, char *why) {
  *model = NULL;
  es_loader l = {calloc(1, sizeof(es_model)), instructions, alignment, es_most(flatbuffer.count), ES_OK, why};
  if (!l.model) {
    if (why) snprintf(why, ES_MESSAGE_BYTES, "no memory");
    return ES_NO_MEMORY;
  }
  es_reader r = {flatbuffer.at, flatbuffer.count, false};
  if (r.bytes < 8 || memcmp(r.data + 4, "TFL3", 4))
    es_fail(&l, ES_BAD_MODEL, "this is not a TFLite model");
  else if (contract.at)
    es_parse_contract(&l, contract.at, contract.count);
  else
    es_read_contract(&l, r.data, r.bytes);
  if (!l.status) find_phases(&l);
  char key[32];
  l.model->block_bytes = before;
  for (int p = 0; p < l.model->phase_count && !l.status; p++) {
    name_of_phase(l.model->first_step[p], key);
    es_read_phase(&l, &r, p, key);
  }
  for (int p = 0; p < l.model->phase_count && !l.status; p++) {
    name_of_phase(l.model->first_step[p], key);
    carry(&l, &r, p, key);
  }
  if (l.status) {
    es_free(l.model);
    return l.status;
  }
  *model = l.model;
  return ES_OK;
}

es_status es_load_parts(const void *flatbuffer, size_t bytes, const char *contract,
                        size_t contract_bytes, es_model **model, char why[ES_MESSAGE_BYTES]) {
  /* The stream itself comes first. */
  return load_for(es_instructions_here(), ES_ALIGNMENT, ES_ALIGNMENT,
                  (es_bytes){flatbuffer, bytes}, (es_bytes){contract, contract_bytes}, model, why);
}

es_status es_load_portable(const void *flatbuffer, size_t bytes, const char *contract,
                           size_t contract_bytes, es_model **model, char why[ES_MESSAGE_BYTES]) {
  return load_for(&es_portable, ES_PLAN_ALIGNMENT, 0, (es_bytes){flatbuffer, bytes},
                  (es_bytes){contract, contract_bytes}, model, why);
}

es_status es_load(const void *file, size_t bytes, es_model **model, char why[ES_MESSAGE_BYTES]) {
  return es_load_parts(file, bytes, NULL, 0, model, why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: their block of memory, and one time step. */
#include "model.h"
#include "run_values.h"

size_t es_model_bytes(const es_model *m) { return sizeof *m + m->own_bytes; }
size_t es_stream_bytes(const es_model *m) { return m->block_bytes; }
size_t es_input_values(const es_model *m) { return m->input_values; }
size_t es_output_values(const es_model *m) { return m->output_values; }
size_t es_input_bytes(const es_model *m) { return m->input_bytes; }
size_t es_output_bytes(const es_model *m) { return m->output_bytes; }

/* After the states' bytes, a cycle's or window's next step is a state of 4 bytes. */
static bool counts(const es_model *m) { return m->cycle > 1 || m->window.steps; }
size_t es_state_bytes(const es_model *m) { return m->state_bytes + (counts(m) ? 4 : 0); }

es_stream *es_open(const es_model *m, void *block) {
  es_stream *s = block;
  memset(block, 0, m->block_bytes);
  s->model = m;
  es_reset(s);
  return s;
}

static void write_state(es_stream *s, size_t state, const void *bytes) {
  const es_model *m = s->model;
  for (int p = 0; p < m->phase_count; p++)
    if (m->phases[p].states[state])
      memcpy(es_at(m->phases[p].states[state], (char *)s), bytes, m->states[state].bytes);
}

void es_reset(es_stream *s) {
  for (size_t i = 0; i < s->model->state_count; i++) write_state(s, i, s->model->states[i].initial);
  s->frame = s->model->first_phase;
}

void es_get_state(const es_stream *s, void *state) {
  const es_model *m = s->model;
  char *to = state;
  for (size_t i = 0; i < m->state_count; to += m->states[i].bytes, i++)
    memcpy(to, es_at(m->phases[0].states[i], (char *)(uintptr_t)s), m->states[i].bytes);
  const uint32_t frame = (uint32_t)s->frame;
  if (counts(m)) memcpy(to, &frame, 4);
}

void es_set_state(es_stream *s, const void *state) {
  const es_model *m = s->model;
  const char *from = state;
  for (size_t i = 0; i < m->state_count; from += m->states[i].bytes, i++) write_state(s, i, from);
  uint32_t frame = 0;
  if (counts(m)) memcpy(&frame, from, 4);
  s->frame = m->window.steps ? es_reduced_frame(m->window, frame) : frame % (uint32_t)m->cycle;
}

/* Compute a step, whose inputs are in place, and hand the states on. */
static const es_phase *compute(es_stream *s) {
  const es_model *m = s->model;
  const es_phase *phase = &m->phases[m->window.steps ? 0 : m->phase_of[s->frame]];
  char *block = (char *)s;
  s->backwards = !s->backwards;
  for (size_t i = 0; i < phase->graph.op_count; i++) {
    const es_op *op = &phase->graph.ops[i];
    if (op->run) op->run(op, block);
  }
  for (size_t i = 0; i < phase->carry_count; i++) {
    const es_carry *c = &phase->carries[i];
    memcpy(es_at(c->to, block), es_at(c->from, block), c->from->bytes);
  }
  return phase;
}

/* The row of the outputs that a frame gives, -1 if none; and count the frame. */
static int64_t turn(es_stream *s) {
  const es_model *m = s->model;
  if (!m->window.steps) {
    s->frame = s->frame + 1 == m->cycle ? 0 : s->frame + 1;
    return 0;
  }
  const int64_t row = es_answering_row(m->window, s->frame);
  s->frame = es_reduced_frame(m->window, s->frame + 1);
  const int64_t lane = es_beginning_lane(m->window, s->frame);
  for (size_t i = 0; lane >= 0 && i < m->state_count; i++) {
    const size_t bytes = m->states[i].bytes / (size_t)m->window.lanes;
    memcpy((char *)es_at(m->phases[0].states[i], (char *)s) + (size_t)lane * bytes,
           (const char *)m->states[i].initial + (size_t)lane * bytes, bytes);
  }
  return row;
}

static const char *row_of(const es_model *m, const es_tensor *t, size_t i, int64_t row, char *block,
                          size_t *bytes) {
  *bytes = m->outputs[i].bytes / (m->window.lanes ? (size_t)m->window.lanes : 1);
  return (const char *)es_at(t, block) + (size_t)row * *bytes;
}

static size_t give_bytes(es_stream *s, const es_phase *phase, void *outputs) {
  const es_model *m = s->model;
  const int64_t row = turn(s);
  char *to = outputs;
  for (size_t i = 0; row >= 0 && i < m->output_count; i++) {
    size_t bytes;
    const char *from = row_of(m, phase->outputs[i], i, row, (char *)s, &bytes);
    memcpy(to, from, bytes);
    to += bytes;
  }
  return (size_t)(to - (char *)outputs);
}

static es_tensor **inputs_of(es_stream *s) {
  const es_model *m = s->model;
  return m->phases[m->window.steps ? 0 : m->phase_of[s->frame]].inputs;
}

size_t es_step_bytes(es_stream *s, const void *inputs, void *outputs) {
  const es_model *m = s->model;
  es_tensor **to = inputs_of(s);
  const char *from = inputs;
  for (size_t i = 0; i < m->input_count; from += m->inputs[i].bytes, i++)
    memcpy(es_at(to[i], (char *)s), from, m->inputs[i].bytes);
  return give_bytes(s, compute(s), outputs);
}

static void take_values(const es_spec *spec, const float *x, void *stored) {
  if (spec->type == ES_I32) es_take_i32(x, stored, spec->count);
  else if (spec->vocabulary || !spec->quantized) memcpy(stored, x, spec->bytes);
  else if (spec->type == ES_I8) es_take_i8(x, stored, spec->count, spec->scale, spec->zero_point);
  else es_take_i16(x, stored, spec->count, spec->scale, spec->zero_point);
}

static void give_values(const es_spec *spec, const void *stored, size_t count, float *y) {
  if (!spec->quantized) memcpy(y, stored, count * sizeof *y);
  else if (spec->type == ES_I8) es_give_i8(stored, y, count, spec->scale, spec->zero_point);
  else es_give_i16(stored, y, count, spec->scale, spec->zero_point);
}

es_status es_step(es_stream *s, const float *inputs, float *outputs) {
  const es_model *m = s->model;
  es_tensor **to = inputs_of(s);
  if (!es_all_finite(inputs, m->input_values)) return ES_BAD_INPUT;
  const float *from = inputs;
  for (size_t i = 0; i < m->input_count; from += m->inputs[i].count, i++)
    if (m->inputs[i].vocabulary && !(*from >= 0 && *from < (float)m->inputs[i].vocabulary))
      return ES_BAD_INPUT;
  from = inputs;
  for (size_t i = 0; i < m->input_count; from += m->inputs[i].count, i++)
    take_values(&m->inputs[i], from, es_at(to[i], (char *)s));
  const es_phase *phase = compute(s);
  const int64_t row = turn(s);
  if (row < 0) return ES_NO_ANSWER;
  bool finite_outputs = true;
  for (size_t i = 0; i < m->output_count; i++) {
    size_t bytes;
    const char *stored = row_of(m, phase->outputs[i], i, row, (char *)s, &bytes);
    const size_t count = bytes / es_type_bytes(m->outputs[i].type);
    give_values(&m->outputs[i], stored, count, outputs);
    if (!m->outputs[i].quantized) finite_outputs &= es_all_finite(outputs, count);
    outputs += count;
  }
  return finite_outputs ? ES_OK : ES_NOT_FINITE;
}

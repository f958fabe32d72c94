/* SPDX-License-Identifier: Apache-2.0 */
/* What a loaded model is made of. Nothing here changes after loading. */
#ifndef ES_MODEL_H
#define ES_MODEL_H

#include "../include/edgestep.h"
#include "operator.h"
#include "reader.h"
#include "window.h"

#include <stdarg.h>

#define ES_MAX_PHASES 64
#define ES_MAX_CYCLE 256
/* No step on a small device has a larger tensor; a damaged shape may be larger. */
#define ES_MAX_ELEMENTS ((size_t)1 << 26)
#define ES_ALIGNMENT 64
#define ES_NAME_BYTES 128

typedef struct {
  es_tensor *tensors;
  size_t tensor_count;
  es_op *ops;
  size_t op_count;
} es_graph;

/* A state's way after a phase: from where it is given to where it is read. */
typedef struct {
  const es_tensor *from, *to;
} es_carry;

typedef struct {
  char name[ES_NAME_BYTES];
  es_type type;
  size_t count, bytes;
  float scale;
  int32_t zero_point;
  bool quantized;
  int32_t vocabulary; /* 0 unless it takes token ids */
  int period;
  const void *initial; /* of a state: its stored bytes */
} es_spec;

typedef struct {
  es_graph graph;
  es_tensor **inputs, **outputs; /* by the contract's order */
  es_carry *carries;
  size_t carry_count;
  es_tensor **states; /* where this phase reads each state; NULL if it does not */
} es_phase;

struct es_model {
  struct es_chunk *chunks;
  es_phase phases[ES_MAX_PHASES];
  /* Signatures by number, and the number of each step's of a cycle. */
  int phase_count, cycle, first_phase;
  int first_step[ES_MAX_PHASES];
  uint8_t phase_of[ES_MAX_CYCLE];
  es_spec *inputs, *outputs, *states;
  size_t input_count, output_count, state_count;
  size_t input_values, output_values, input_bytes, output_bytes, state_bytes;
  size_t block_bytes;
  size_t own_bytes; /* what was taken for it */
  es_window window; /* 0 steps if there is none */
};

struct es_stream {
  const es_model *model;
  int64_t frame; /* of a cycle of phases, or of a window */
  bool backwards; /* every other step's products */
};

/* Loading: for which kernels, how values are aligned; memory that lives as long as the model, and
 * the first error. */
typedef struct {
  es_model *model;
  const struct es_instructions *instructions;
  size_t alignment;
  size_t most; /* bytes that the model may take */
  es_status status;
  char *why;
} es_loader;

/* A small file may tell of tensors of any size, and plans of them are larger still. */
static inline size_t es_most(size_t file_bytes) {
  const size_t base = (size_t)64 << 20;
  return file_bytes < (SIZE_MAX / 2 - base) / 64 ? base + 64 * file_bytes : SIZE_MAX / 2;
}

void *es_take(es_loader *l, size_t bytes);
es_status es_fail(es_loader *l, es_status status, const char *format, ...);

/* An operator of the file, as its kernel is chosen. */
typedef struct {
  es_reader *reader;
  es_table options;
  int code, options_tag;
  const char *name;
} es_source;

/* Rewrite a graph to fewer operators that compute the same (fuse.c), and lay its values into the
 * stream's block (plan.c). */
es_status es_fuse(es_loader *l, es_graph *g);
es_status es_plan(es_loader *l, es_graph *g);
es_status es_prepare(es_loader *l, es_op *op, es_source *source);
es_status es_parse_contract(es_loader *l, const char *text, size_t bytes);
es_status es_read_contract(es_loader *l, const uint8_t *file, size_t bytes);
es_status es_read_phase(es_loader *l, es_reader *r, int phase, const char *key);

#endif

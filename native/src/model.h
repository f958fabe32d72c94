/* SPDX-License-Identifier: Apache-2.0 */
/* What a loaded model is made of. Nothing here changes after loading. */
#ifndef ES_MODEL_H
#define ES_MODEL_H

#include "../include/edgestep.h"
#include "reader.h"

#include <stdarg.h>

#define ES_MAX_RANK 6
#define ES_MAX_PHASES 64
#define ES_MAX_CYCLE 256
/* No step on a small device has a larger tensor; a damaged shape may be larger. */
#define ES_MAX_ELEMENTS ((size_t)1 << 26)
#define ES_ALIGNMENT 64
#define ES_NAME_BYTES 128

typedef enum { ES_F32, ES_F16, ES_I8, ES_I16, ES_I32, ES_I64 } es_type;

typedef struct es_tensor {
  es_type type;
  int rank;
  int32_t dims[ES_MAX_RANK];
  size_t count, bytes;
  /* real = scale * (stored - zero_point); several scales run along an axis. */
  const float *scales;
  size_t scale_count;
  int axis;
  int32_t zero_point;
  /* A constant's values, aligned; NULL if a step computes them. */
  const void *constant;
  /* Where in a stream's block a step's values lie. */
  size_t offset;
  bool written;
  /* The last operator that reads it; the arena's plan. ES_ALWAYS: a caller sees it. */
  int last_reader;
  /* How many inputs of operators it is; which operator writes it, -1 if none does. */
  int readers, writer;
  /* A constant's values in float16, if the file has it so. */
  const uint16_t *half;
  /* It lies in another tensor, so many bytes behind its beginning. */
  struct es_tensor *within;
  size_t within_byte;
  /* The product that computes it; the planning of products. */
  struct es_part *part;
} es_tensor;
#define ES_ALWAYS INT32_MAX

typedef struct es_op es_op;
typedef void (*es_kernel)(const es_op *op, char *block);

/* Bytes to copy from one tensor to another. */
typedef struct {
  const es_tensor *from, *to;
  size_t from_byte, to_byte, bytes;
} es_run;

struct es_op {
  es_kernel run;
  int code; /* in the schema */
  es_tensor **in, **out;
  int in_count, out_count;
  /* What each kernel means by these is written beside it. */
  size_t n[4];
  float low, high, scale[3];
  int32_t zero[3], axis;
  double (*function)(double, double);
  double parameter;
  const void *packed;
  const float *scales;
  const void *bias;
  const int32_t *index[2];
  const es_run *runs;
  size_t run_count;
  const int8_t *table;
};

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
  /* A window: frames, frames between answers, rows. 0 steps if there is none. */
  int64_t window, hop, lanes;
};

struct es_stream {
  const es_model *model;
  int64_t frame; /* of a cycle of phases, or of a window */
};

/* Loading: memory that lives as long as the model, and the first error. */
typedef struct {
  es_model *model;
  es_status status;
  char *why;
} es_loader;

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

static inline void *es_at(const es_tensor *t, char *block) {
  return t->constant ? (void *)(uintptr_t)t->constant : block + t->offset;
}
static inline size_t es_type_bytes(es_type type) {
  static const uint8_t bytes[] = {4, 2, 1, 2, 4, 8};
  return bytes[type];
}
#endif

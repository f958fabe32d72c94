/* SPDX-License-Identifier: Apache-2.0 */
/* An operator as its kernel sees it.
 *
 * Kernels that any machine may run lie in headers of their own, so that 'edgestep export-c' can
 * take them into firmware: the same text, compiled with ES_FIRMWARE. There the fields that loading
 * needs are left out, and the rest is constant, so that a compiler folds it into the code. */
#ifndef ES_OPERATOR_H
#define ES_OPERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ES_MAX_RANK 6

#ifndef ES_FIRMWARE
#define ES_KERNEL static
#elif defined(__GNUC__)
#define ES_KERNEL static inline __attribute__((always_inline))
#else
#define ES_KERNEL static inline
#endif

typedef enum { ES_F32, ES_F16, ES_I8, ES_I16, ES_I32, ES_I64 } es_type;

typedef struct es_tensor {
  es_type type;
  /* Where in a stream's block a step's values lie. */
  size_t offset;
  /* A constant's values, aligned; NULL if a step computes them. */
  const void *constant;
#ifndef ES_FIRMWARE
  int rank;
  int32_t dims[ES_MAX_RANK];
  size_t count, bytes;
  /* real = scale * (stored - zero_point); several scales run along an axis. */
  const float *scales;
  size_t scale_count;
  int axis;
  int32_t zero_point;
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
#endif
} es_tensor;
#define ES_ALWAYS INT32_MAX

/* Bytes to copy from one tensor to another. */
typedef struct {
  const es_tensor *from, *to;
  size_t from_byte, to_byte, bytes;
} es_run;

typedef struct es_op es_op;
typedef void (*es_kernel)(const es_op *op, char *block);

struct es_op {
#ifdef ES_FIRMWARE
  const es_tensor *in[2], *out[1];
#else
  es_kernel run;
  int code; /* in the schema */
  es_tensor **in, **out;
  int in_count, out_count;
  const es_run *runs;
  size_t run_count;
#endif
  /* What each kernel means by these is written beside it. */
  size_t n[4];
  float low, high, scale[3];
  int32_t zero[3], axis;
  double (*function)(double, double);
  double parameter;
  const void *packed;
  const int32_t *index[2];
  const int8_t *table;
};

static inline void *es_at(const es_tensor *t, char *block) {
  return t->constant ? (void *)(uintptr_t)t->constant : block + t->offset;
}
static inline size_t es_type_bytes(es_type type) {
  static const uint8_t bytes[] = {4, 2, 1, 2, 4, 8};
  return bytes[type];
}
#endif

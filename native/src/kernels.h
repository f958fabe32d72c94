/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of kernels share. */
#ifndef ES_KERNELS_H
#define ES_KERNELS_H

#include "arithmetic.h"
#include "model.h"

/* Choose an operator's kernel and make what it needs, from its tensors and options. */
typedef es_status (*es_preparation)(es_loader *l, es_op *op, es_source *s);

typedef struct {
  int code;
  const char *name;
  int options; /* tag of its options in the schema; 0 if they do not matter */
  int least_inputs, most_inputs, most_outputs;
  es_preparation prepare;
} es_row;

/* The schema's numbers of operators that are looked for in a graph. */
enum {
  ES_CODE_NONE = -1, /* of one that no file has */
  ES_CODE_ADD = 0,
  ES_CODE_FULLY_CONNECTED = 9,
  ES_CODE_LOGISTIC = 14,
  ES_CODE_TANH = 28,
  ES_CODE_SUB = 41,
  ES_CODE_SPLIT = 49,
};

es_status es_misfit(es_loader *l, const es_source *s, const char *reason);

/* Copy runs of bytes (kernels_shapes.c). */
void es_move(const es_op *op, char *block);

/* By file. */
es_status es_fully_connected(es_loader *l, es_op *op, es_source *s);
es_status es_batch_matmul(es_loader *l, es_op *op, es_source *s);
es_status es_binary(es_loader *l, es_op *op, es_source *s);
es_status es_unary(es_loader *l, es_op *op, es_source *s);
es_status es_reduction(es_loader *l, es_op *op, es_source *s);
es_status es_softmax(es_loader *l, es_op *op, es_source *s);
es_status es_conversion(es_loader *l, es_op *op, es_source *s);
es_status es_reshape(es_loader *l, es_op *op, es_source *s);
es_status es_split(es_loader *l, es_op *op, es_source *s);
es_status es_concatenation(es_loader *l, es_op *op, es_source *s);
es_status es_slice(es_loader *l, es_op *op, es_source *s);
es_status es_strided_slice(es_loader *l, es_op *op, es_source *s);
es_status es_transpose(es_loader *l, es_op *op, es_source *s);
es_status es_gather(es_loader *l, es_op *op, es_source *s);

/* The limits of a fused activation, in real values. */
es_status es_activation(es_loader *l, const es_source *s, int activation, float *low, float *high);

/* Limits of a stored output without its zero point, with those of an activation. */
void es_stored_limits(const es_tensor *out, float *low, float *high);

/* An integer constant of at most ES_MAX_RANK values, such as axes. False if it is none. */
bool es_integers(const es_tensor *t, int64_t *values, int *count);

static inline bool es_is_quantized(const es_tensor *t) {
  return (t->type == ES_I8 || t->type == ES_I16) && t->scale_count == 1;
}
static inline bool es_same_grid(const es_tensor *a, const es_tensor *b) {
  return a->type == b->type && a->scale_count == b->scale_count &&
         (!a->scale_count || (a->scales[0] == b->scales[0] && a->zero_point == b->zero_point));
}
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices times vectors, one file an instruction set.
 *
 * A product's sums of one or two terms go through limits and a function of one value in the same
 * pass, so that nothing is written between. Weights are packed once, at load. Units come in blocks of
 * four, two and one vectors, the last one filled up with zeros. A block has, for each input, the
 * weights of its units side by side; in integers those of `group` inputs stand together for each
 * unit: [inputs / group][units][group].
 */
#ifndef ES_PRODUCTS_H
#define ES_PRODUCTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { ES_SUM_F32, ES_SUM_F16, ES_SUM_HYBRID, ES_SUM_I8, ES_SUM_I16, ES_SUM_KINDS } es_sum_kind;
typedef enum { ES_PLAIN, ES_LOGISTIC, ES_TANH, ES_TABLE } es_activation_kind;

/* A matrix and where its input's next row is, in values. */
typedef struct {
  size_t width, stride;
  const void *weights; /* packed */
  const void *bias;    /* float; int32 with the input's zero point in it; int64; padded to blocks */
  const float *scales; /* of a sum in steps of the term; of a weight, if values are float */
  float low, high;     /* limits of an integer term, without its zero point */
  float step;          /* of two integer terms: a step of this one in steps of the sum */
  /* Of a sparse matrix: so many blocks of ES_SPARSE_UNITS are summed together, `group` inputs of one
   * after those of another; which inputs they have weights of, and where those of the next blocks
   * begin. `near` has the places' lowest 8 bits, if there are no others. */
  uint32_t together;
  const uint16_t *places;
  const uint8_t *near;
  const uint32_t *begins;
} es_term;

/* Units whose weights of an input are all zero, or not: 16x1 sparsity. */
#define ES_SPARSE_UNITS 16
/* All blocks' inputs of a sparse matrix lie on the stack. */
#define ES_SPARSE_MOST 8192

typedef struct {
  size_t units, rows, stride; /* where the output's next row is, in values */
  int term_count;
  es_term terms[2];
  float low, high; /* limits, without the output's zero point */
  int32_t zero;
  es_activation_kind activation;
  const int8_t *table; /* of 256, by the stored value as uint8_t */
} es_product;

typedef void (*es_product_kernel)(const es_product *, const void *const *x, void *y);

typedef struct {
  size_t vector; /* units in the smallest block */
  size_t group;  /* int8 inputs that stand together */
  int32_t shift; /* what an int8 input is moved by before it is multiplied; a bias undoes it */
  bool lowest;   /* whether a weight may be -128 */
  es_product_kernel kernels[ES_SUM_KINDS];
  es_product_kernel sparse_f32, sparse_i8;
  size_t sparse_blocks; /* of int8 that fill a kernel's registers together */
} es_products;

extern const es_products es_products_portable;

static inline size_t es_up(size_t count, size_t unit) { return (count + unit - 1) / unit * unit; }
/* How many units the block that begins here has. */
static inline size_t es_block(size_t units_left, size_t vector) {
  return units_left > 3 * vector ? 4 * vector : units_left > vector ? 2 * vector : vector;
}
/* How many units all blocks have. */
static inline size_t es_padded(size_t units, size_t vector) {
  size_t padded = 0;
  while (padded < units) padded += es_block(units - padded, vector);
  return padded;
}
#endif

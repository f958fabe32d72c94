/* SPDX-License-Identifier: Apache-2.0 */
/* From operators FULLY_CONNECTED and what follows them to products of one pass. */
#ifndef ES_PRODUCTS_PLAN_H
#define ES_PRODUCTS_PLAN_H

#include "instruction_set.h"
#include "kernels.h"

/* So many products of 8 bits, with a bias of half the range, do not overflow 32 bits. */
#define WIDEST 32768

/* A FULLY_CONNECTED of the file. */
typedef struct {
  es_sum_kind kind;
  es_tensor *x, *weights, *bias;
  size_t units, width, rows;
  float low, high; /* limits, without the output's zero point */
  float step;      /* of an integer output */
  int32_t zero;
} es_connected;

/* Some units of a matrix, from `first` on. */
typedef struct {
  const es_connected *connected;
  size_t first;
  float step; /* in steps of the sum of two terms */
} es_part_term;

/* A product that is still being put together: what it sums, and what becomes of the sum. */
typedef struct es_part {
  es_part_term terms[2];
  int term_count;
  size_t units;
  float low, high;
  int32_t zero;
  es_activation_kind activation;
  const int8_t *table;
  es_tensor *out;
  /* Before which operator of the file it is computed, and after how many other products there. */
  size_t slot, level;
  bool dropped;
} es_part;

/* A product or a piece of one that is ready, and where its values are. */
typedef struct {
  es_product product;
  es_product_kernel kernel;
  const es_tensor *x[2], *out;
  size_t out_byte;
} es_planned;

/* Make an operator that computes these products. */
/* Whether so many of a matrix's blocks are zero that the others alone are faster; and put those, of
 * one or two terms side by side, in the place of the dense matrix (pack_sparse.c). */
bool es_is_sparse(const es_part *part, const es_products *how);
es_status es_fill_sparse(es_loader *l, const es_products *how, const es_part_term *terms,
                         int term_count, size_t units, es_term *t);
es_status es_plan_products(es_loader *l, es_op *op, es_part *const *parts, size_t count);
#endif

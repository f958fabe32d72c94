/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of operators element by element, compiled once for each instruction set. */
#ifndef ES_ELEMENTWISE_H
#define ES_ELEMENTWISE_H

#include "operator.h"

enum { ES_ADD, ES_SUB, ES_MUL, ES_DIV, ES_MAXIMUM, ES_MINIMUM, ES_BINARIES };

/* How two operands of other shapes go on along a row: both, one of them, or none. */
enum { ES_ALIKE, ES_BOTH_MOVE, ES_FIRST_MOVES, ES_SECOND_MOVES, ES_NONE_MOVES };

#define ES_LONGEST_SUM ((size_t)1 << 20)

typedef struct {
  /* By kind; of float32, int8, int16, int32. */
  es_kernel binary[ES_BINARIES][4];
  es_kernel tanh_f32, logistic_f32, exp_f32, root_f32, reciprocal_root_f32, limits_f32, table_i8;
  es_kernel quantize_i8, quantize_i16, dequantize_i8, dequantize_i16;
  /* Along one axis; of int8 at most ES_LONGEST_SUM. */
  es_kernel sum_f32, sum_i8;
} es_elementwise;
#endif

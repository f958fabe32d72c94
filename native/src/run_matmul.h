/* SPDX-License-Identifier: Apache-2.0 */
/* Products of two matrices that are both computed. */
#ifndef ES_RUN_MATMUL_H
#define ES_RUN_MATMUL_H

#include "operator.h"

/* n: matrices, rows, inner length, columns. index[0], index[1]: strides, as 32-bit numbers. */
ES_KERNEL void batch_matmul(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block), *w = es_at(op->in[1], block);
  float *y = es_at(op->out[0], block);
  const int32_t *of_x = op->index[0], *of_w = op->index[1];
  for (size_t m = 0; m < op->n[0]; m++)
    for (size_t i = 0; i < op->n[1]; i++)
      for (size_t j = 0; j < op->n[3]; j++) {
        const float *a = x + m * (size_t)of_x[0] + i * (size_t)of_x[1];
        const float *b = w + m * (size_t)of_w[0] + j * (size_t)of_w[1];
        float sum = 0;
        for (size_t k = 0; k < op->n[2]; k++) sum += a[k * (size_t)of_x[2]] * b[k * (size_t)of_w[2]];
        *y++ = sum;
      }
}
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over any axes, and SOFTMAX. */
#ifndef ES_RUN_REDUCTIONS_H
#define ES_RUN_REDUCTIONS_H

#include "functions_lanes.h"
#include "operator.h"

/* n: elements in and out, elements in each sum. index[0]: the sum that each element goes into.
 * bias: memory offsets are not needed, as the output holds a float's sums; integers sum elements
 * one output after another. scale: of a sum in steps of the output. */
ES_KERNEL void scattered_sum_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  const int32_t *index = op->index[0];
  for (size_t i = 0; i < op->n[1]; i++) y[i] = 0;
  for (size_t i = 0; i < op->n[0]; i++) y[index[i]] += x[i];
  if (op->scale[0] != 1)
    for (size_t i = 0; i < op->n[1]; i++) y[i] *= op->scale[0];
}

/* index[1]: the elements of each sum, one sum after another. */
ES_KERNEL void scattered_sum_integers(const es_op *op, char *block) {
  const void *x = es_at(op->in[0], block);
  void *y = es_at(op->out[0], block);
  const bool wide = op->in[0]->type == ES_I16;
  const int32_t *elements = op->index[1];
  for (size_t i = 0; i < op->n[1]; i++) {
    int64_t sum = -(int64_t)op->n[2] * op->zero[0];
    for (size_t e = 0; e < op->n[2]; e++, elements++)
      sum += wide ? ((const int16_t *)x)[*elements] : ((const int8_t *)x)[*elements];
    int64_t stored =
        es_rint64(es_clamp64((double)sum * (double)op->scale[0], op->low, op->high)) + op->zero[2];
    if (wide) ((int16_t *)y)[i] = (int16_t)stored;
    else ((int8_t *)y)[i] = (int8_t)stored;
  }
}

/* n: rows, values in a row. parameter: beta. */
ES_KERNEL void softmax_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t row = 0; row < op->n[0]; row++, x += op->n[1], y += op->n[1]) {
    float largest = x[0], sum = 0;
    for (size_t i = 1; i < op->n[1]; i++) largest = x[i] > largest ? x[i] : largest;
    for (size_t i = 0; i < op->n[1]; i++) y[i] = (x[i] - largest) * op->scale[0];
    for (size_t i = 0; i < op->n[1]; i++) y[i] = exp_lane(y[i]);
    for (size_t i = 0; i < op->n[1]; i++) sum += y[i];
    if (op->axis) { /* its logarithm */
      const float log = (float)es_log((double)sum);
      for (size_t i = 0; i < op->n[1]; i++) y[i] = (x[i] - largest) * op->scale[0] - log;
    } else {
      for (size_t i = 0; i < op->n[1]; i++) y[i] /= sum;
    }
  }
}
static inline double difference(const es_op *op, int32_t stored) {
  return es_exp((double)stored * (double)op->scale[0]);
}
/* packed: exp of each difference that two values of 8 bits may have. */
ES_KERNEL void softmax_i8(const es_op *op, char *block) {
  const int8_t *x = es_at(op->in[0], block);
  int8_t *y = es_at(op->out[0], block);
  const double *exps = op->packed, scale = (double)op->scale[1];
  const double low = (double)op->low, high = (double)op->high;
  for (size_t row = 0; row < op->n[0]; row++, x += op->n[1], y += op->n[1]) {
    int8_t largest = x[0];
    for (size_t i = 1; i < op->n[1]; i++) largest = x[i] > largest ? x[i] : largest;
    double sum = 0;
    for (size_t i = 0; i < op->n[1]; i++) sum += exps[largest - x[i]];
    for (size_t i = 0; i < op->n[1]; i++)
      y[i] = (int8_t)(es_rint64(es_clamp64(exps[largest - x[i]] / sum / scale, low, high)) +
                      op->zero[2]);
  }
}
ES_KERNEL void softmax_integers(const es_op *op, char *block) {
  const void *x = es_at(op->in[0], block);
  void *y = es_at(op->out[0], block);
  const bool wide = op->in[0]->type == ES_I16;
#define AT(i) (wide ? ((const int16_t *)x)[i] : ((const int8_t *)x)[i])
  for (size_t row = 0; row < op->n[0]; row++) {
    const size_t first = row * op->n[1];
    int32_t largest = AT(first);
    for (size_t i = 1; i < op->n[1]; i++) largest = AT(first + i) > largest ? AT(first + i) : largest;
    double sum = 0;
    for (size_t i = 0; i < op->n[1]; i++) sum += difference(op, AT(first + i) - largest);
    for (size_t i = 0; i < op->n[1]; i++) {
      double steps = difference(op, AT(first + i) - largest) / sum / (double)op->scale[1];
      int64_t stored = es_rint64(es_clamp64(steps, op->low, op->high)) + op->zero[2];
      if (wide) ((int16_t *)y)[first + i] = (int16_t)stored;
      else ((int8_t *)y)[first + i] = (int8_t)stored;
    }
  }
#undef AT
}
#endif

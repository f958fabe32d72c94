/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of one value that are computed in float64, and conversions between grids. What the fields
 * of an es_op mean is written in kernels_elementwise.c. */
#ifndef ES_RUN_FUNCTIONS_H
#define ES_RUN_FUNCTIONS_H

#include "arithmetic.h"
#include "operator.h"

static inline double as_tanh(double x, double unused) {
  (void)unused;
  if (x > 20) return 1;
  if (x < -20) return -1;
  double e = es_exp(2 * x);
  return (e - 1) / (e + 1);
}
static inline double as_logistic(double x, double unused) {
  (void)unused;
  return 1 / (1 + es_exp(-x));
}
static inline double as_abs(double x, double unused) { return (void)unused, x < 0 ? -x : x; }
static inline double as_exp(double x, double unused) { return (void)unused, es_exp(x); }
static inline double as_log(double x, double unused) { return (void)unused, es_log(x); }
static inline double as_negative(double x, double unused) { return (void)unused, -x; }
static inline double as_relu(double x, double unused) { return (void)unused, x > 0 ? x : 0; }
static inline double as_relu6(double x, double unused) { return (void)unused, es_clamp64(x, 0, 6); }
static inline double as_root(double x, double unused) { return (void)unused, es_sqrt(x); }
/* A root of nothing, in steps of a grid, is as large as the grid goes. */
static inline double as_reciprocal_root(double x, double unused) {
  return (void)unused, x > 0 ? 1 / es_sqrt(x) : 1e30;
}
static inline double as_leaky_relu(double x, double slope) { return x < 0 ? x * slope : x; }
static inline double as_elu(double x, double unused) { return (void)unused, x < 0 ? es_exp(x) - 1 : x; }
static inline double as_gelu(double x, double approximate) {
  if (approximate == 0) return x * (1 + es_erf(x * 0.70710678118654752440)) / 2;
  return x * (1 + as_tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x), 0)) / 2;
}

ES_KERNEL void unary_f32(const es_op *op, char *block) {
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++) y[i] = (float)op->function((double)x[i], op->parameter);
}
static inline double of_grid(const es_op *op, int32_t stored) {
  const double real = op->function((double)(stored - op->zero[0]) * (double)op->scale[0],
                                   op->parameter);
  return es_clamp64(real / (double)op->scale[1], op->low, op->high);
}
ES_KERNEL void unary_i16(const es_op *op, char *block) {
  const int16_t *x = es_at(op->in[0], block);
  int16_t *y = es_at(op->out[0], block);
  for (size_t i = 0; i < op->n[0]; i++)
    y[i] = (int16_t)(es_rint64(of_grid(op, x[i])) + op->zero[2]);
}

/* From one grid to another, of 8 or 16 bits each. */
ES_KERNEL void regrid(const es_op *op, char *block) {
  const void *x = es_at(op->in[0], block);
  void *y = es_at(op->out[0], block);
  const bool wide = op->in[0]->type == ES_I16, wide_out = op->out[0]->type == ES_I16;
  for (size_t i = 0; i < op->n[0]; i++) {
    int32_t stored = (wide ? ((const int16_t *)x)[i] : ((const int8_t *)x)[i]) - op->zero[0];
    double steps = (double)stored * (double)op->scale[0] / (double)op->scale[1];
    int64_t value = es_rint64(es_clamp64(steps, op->low, op->high)) + op->zero[2];
    if (wide_out) ((int16_t *)y)[i] = (int16_t)value;
    else ((int8_t *)y)[i] = (int8_t)value;
  }
}
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The operators that are known, and what several of them need. */
#include "kernels.h"

static const es_row rows[] = {
    {0, "ADD", 11, 2, 2, 1, es_binary},
    {2, "CONCATENATION", 10, 1, 4096, 1, es_concatenation},
    {6, "DEQUANTIZE", 0, 1, 1, 1, es_conversion},
    {9, "FULLY_CONNECTED", 8, 2, 3, 1, es_fully_connected},
    {14, "LOGISTIC", 0, 1, 1, 1, es_unary},
    {18, "MUL", 21, 2, 2, 1, es_binary},
    {19, "RELU", 0, 1, 1, 1, es_unary},
    {21, "RELU6", 0, 1, 1, 1, es_unary},
    {22, "RESHAPE", 0, 1, 2, 1, es_reshape},
    {25, "SOFTMAX", 9, 1, 1, 1, es_softmax},
    {28, "TANH", 0, 1, 1, 1, es_unary},
    {36, "GATHER", 23, 2, 2, 1, es_gather},
    {39, "TRANSPOSE", 0, 2, 2, 1, es_transpose},
    {40, "MEAN", 27, 2, 2, 1, es_reduction},
    {41, "SUB", 28, 2, 2, 1, es_binary},
    {42, "DIV", 29, 2, 2, 1, es_binary},
    {43, "SQUEEZE", 0, 1, 1, 1, es_reshape},
    {45, "STRIDED_SLICE", 32, 4, 4, 1, es_strided_slice},
    {47, "EXP", 0, 1, 1, 1, es_unary},
    {49, "SPLIT", 35, 2, 2, 4096, es_split},
    {50, "LOG_SOFTMAX", 0, 1, 1, 1, es_softmax},
    {55, "MAXIMUM", 0, 2, 2, 1, es_binary},
    {57, "MINIMUM", 0, 2, 2, 1, es_binary},
    {59, "NEG", 0, 1, 1, 1, es_unary},
    {65, "SLICE", 0, 3, 3, 1, es_slice},
    {70, "EXPAND_DIMS", 0, 1, 2, 1, es_reshape},
    {73, "LOG", 0, 1, 1, 1, es_unary},
    {74, "SUM", 27, 2, 2, 1, es_reduction},
    {75, "SQRT", 0, 1, 1, 1, es_unary},
    {76, "RSQRT", 0, 1, 1, 1, es_unary},
    {98, "LEAKY_RELU", 75, 1, 1, 1, es_unary},
    {101, "ABS", 0, 1, 1, 1, es_unary},
    {111, "ELU", 0, 1, 1, 1, es_unary},
    {114, "QUANTIZE", 0, 1, 1, 1, es_conversion},
    {126, "BATCH_MATMUL", 101, 2, 2, 1, es_batch_matmul},
    {150, "GELU", 116, 1, 1, 1, es_unary},
};

es_status es_misfit(es_loader *l, const es_source *s, const char *reason) {
  return es_fail(l, ES_UNSUPPORTED, "operator %s cannot be computed: %s", s->name, reason);
}

es_status es_prepare(es_loader *l, es_op *op, es_source *s) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const es_row *row = &rows[i];
    if (row->code != s->code) continue;
    s->name = row->name;
    op->code = s->code;
    if (op->in_count < row->least_inputs || op->in_count > row->most_inputs || !op->out_count ||
        op->out_count > row->most_outputs)
      return es_misfit(l, s, "it has another number of tensors");
    if (row->options && s->options.at && s->options_tag != row->options)
      return es_misfit(l, s, "its options are another operator's");
    if (!s->options.at) s->options = (es_table){0, 0};
    return row->prepare(l, op, s);
  }
  return es_fail(l, ES_UNSUPPORTED, "operator %d of the schema is not known here", s->code);
}

es_status es_activation(es_loader *l, const es_source *s, int activation, float *low, float *high) {
  static const float limits[4][2] = {{-3.4e38f, 3.4e38f}, {0, 3.4e38f}, {-1, 1}, {0, 6}};
  if (activation < 0 || activation > 3) return es_misfit(l, s, "its activation is not known here");
  *low = limits[activation][0];
  *high = limits[activation][1];
  return ES_OK;
}

void es_stored_limits(const es_tensor *out, float *low, float *high) {
  const int32_t lowest = out->type == ES_I8 ? -128 : -32768, highest = -lowest - 1;
  const double zero = out->zero_point;
  *low = (float)(es_rint64(es_clamp64((double)*low / (double)out->scales[0], lowest - zero,
                                      highest - zero)));
  *high = (float)(es_rint64(es_clamp64((double)*high / (double)out->scales[0], lowest - zero,
                                       highest - zero)));
}

bool es_integers(const es_tensor *t, int64_t *values, int *count) {
  if (!t || !t->constant || t->rank > 1 || t->count > ES_MAX_RANK ||
      (t->type != ES_I32 && t->type != ES_I64))
    return false;
  *count = (int)t->count;
  for (int i = 0; i < *count; i++)
    values[i] = t->type == ES_I32 ? ((const int32_t *)t->constant)[i]
                                  : ((const int64_t *)t->constant)[i];
  return true;
}

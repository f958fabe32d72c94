/* SPDX-License-Identifier: Apache-2.0 */
/* FULLY_CONNECTED and BATCH_MATMUL. */
#include "kernels.h"
#include "products.h"

/* So many products of 8 bits, with a bias of half the range, do not overflow 32 bits. */
#define WIDEST 32768

/* n: rows of the input, its width. packed: an es_product. function of the chosen type. */
typedef struct {
  es_product product;
  const es_products *kernels;
} packed_product;

static void connected_f32(const es_op *op, char *block) {
  const packed_product *p = op->packed;
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t row = 0; row < op->n[0]; row++, x += p->product.width, y += p->product.units)
    p->kernels->f32(&p->product, x, y);
}
static void connected_hybrid(const es_op *op, char *block) {
  const packed_product *p = op->packed;
  const float *x = es_at(op->in[0], block);
  float *y = es_at(op->out[0], block);
  for (size_t row = 0; row < op->n[0]; row++, x += p->product.width, y += p->product.units)
    p->kernels->hybrid(&p->product, x, y);
}
static void connected_i8(const es_op *op, char *block) {
  const packed_product *p = op->packed;
  const int8_t *x = es_at(op->in[0], block);
  int8_t *y = es_at(op->out[0], block);
  for (size_t row = 0; row < op->n[0]; row++, x += p->product.width, y += p->product.units)
    p->kernels->i8(&p->product, x, y);
}
static void connected_i16(const es_op *op, char *block) {
  const packed_product *p = op->packed;
  const int16_t *x = es_at(op->in[0], block);
  int16_t *y = es_at(op->out[0], block);
  for (size_t row = 0; row < op->n[0]; row++, x += p->product.width, y += p->product.units)
    p->kernels->i16(&p->product, x, y);
}

static void *pack(es_loader *l, const es_tensor *weights, size_t units, size_t width, bool pairs) {
  const size_t size = es_type_bytes(weights->type), wide = pairs ? es_even(width) : width;
  char *packed = es_take(l, es_padded(units) * wide * size);
  if (!packed) return NULL;
  const char *from = weights->constant;
  for (size_t first = 0, block; first < units; first += block) {
    block = es_block(units - first);
    char *to = packed + first * wide * size;
    for (size_t k = 0; k < width; k++)
      for (size_t u = 0; u < block && first + u < units; u++) {
        size_t at = pairs ? (k / 2 * block + u) * 2 + k % 2 : k * block + u;
        memcpy(to + at * size, from + ((first + u) * width + k) * size, size);
      }
  }
  return packed;
}

static float scale_of(const es_tensor *t, size_t unit) {
  return t->scales[t->scale_count > 1 ? unit : 0];
}

/* An integer's bias in the sum's units, with what the input's zero point adds to it. */
static es_status integer_bias(es_loader *l, es_product *p, const es_tensor *x,
                              const es_tensor *weights, const es_tensor *bias) {
  const bool wide = x->type == ES_I16;
  int64_t *sums = es_take(l, es_padded(p->units) * sizeof *sums);
  int32_t *narrow = es_take(l, es_padded(p->units) * sizeof *narrow);
  if (l->status) return l->status;
  const int8_t *w = weights->constant;
  for (size_t u = 0; u < p->units; u++) {
    if (bias && bias->type == ES_I64) sums[u] = ((const int64_t *)bias->constant)[u];
    if (bias && bias->type == ES_I32) sums[u] = ((const int32_t *)bias->constant)[u];
    for (size_t k = 0; k < p->width; k++) sums[u] -= (int64_t)x->zero_point * w[u * p->width + k];
    if (!wide && (sums[u] > INT32_MAX / 2 || sums[u] < INT32_MIN / 2))
      return es_fail(l, ES_BAD_MODEL, "a bias is too large");
    narrow[u] = (int32_t)sums[u];
  }
  p->bias = wide ? (const void *)sums : narrow;
  return ES_OK;
}

static es_status scales(es_loader *l, es_product *p, const es_tensor *x, const es_tensor *weights,
                        const es_tensor *out) {
  float *list = es_take(l, es_padded(p->units) * sizeof *list);
  if (!list) return l->status;
  for (size_t u = 0; u < p->units; u++)
    list[u] = x->type == ES_F32 ? scale_of(weights, u)
                                : (float)((double)x->scales[0] * (double)scale_of(weights, u) /
                                          (double)out->scales[0]);
  p->scales = list;
  return ES_OK;
}

es_status es_fully_connected(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *weights = op->in[1], *out = op->out[0];
  const es_tensor *bias = op->in_count > 2 ? op->in[2] : NULL;
  packed_product *packed = es_take(l, sizeof *packed);
  if (!packed) return l->status;
  if (!x || !weights || !weights->constant || weights->rank != 2)
    return es_misfit(l, s, "its weights are not a constant matrix");
  if (es_field_i8(s->reader, s->options, 1, 0)) return es_misfit(l, s, "its weights are shuffled");
  es_product *p = &packed->product;
  p->units = (size_t)weights->dims[0];
  p->width = (size_t)weights->dims[1];
  if (!p->width || !p->units || x->count % p->width || out->count != x->count / p->width * p->units)
    return es_misfit(l, s, "its shapes do not fit");
  if (bias && (!bias->constant || bias->count != p->units))
    return es_misfit(l, s, "its bias does not fit");
  if (weights->scale_count > 1 && (weights->scale_count != p->units || weights->axis != 0))
    return es_misfit(l, s, "its scales do not fit");
  if (weights->zero_point) return es_misfit(l, s, "its weights have a zero point");
  op->n[0] = x->count / p->width;
  op->packed = packed;
  packed->kernels = es_products_here();
  if (es_activation(l, s, es_field_i8(s->reader, s->options, 0, 0), &p->low, &p->high))
    return l->status;
  const bool integers = es_is_quantized(x) && x->type == out->type && es_is_quantized(out) &&
                        weights->type == ES_I8 && weights->scale_count;
  const bool real = x->type == ES_F32 && out->type == ES_F32 && (!bias || bias->type == ES_F32);
  if (integers) {
    if (bias && bias->type != ES_I32 && bias->type != ES_I64)
      return es_misfit(l, s, "its bias is not an integer");
    if (x->type == ES_I16 && x->zero_point) return es_misfit(l, s, "16 bits with a zero point");
    if (p->width > WIDEST) return es_misfit(l, s, "it sums too many products");
    es_stored_limits(out, &p->low, &p->high);
    p->zero = out->zero_point;
    op->run = x->type == ES_I8 ? connected_i8 : connected_i16;
    if (integer_bias(l, p, x, weights, bias) || scales(l, p, x, weights, out)) return l->status;
  } else if (real && (weights->type == ES_F32 || (weights->type == ES_I8 && weights->scale_count))) {
    float *copy = es_take(l, es_padded(p->units) * sizeof *copy);
    if (!copy) return l->status;
    if (bias) memcpy(copy, bias->constant, p->units * sizeof *copy);
    p->bias = copy;
    op->run = weights->type == ES_F32 ? connected_f32 : connected_hybrid;
    if (weights->type == ES_I8 && scales(l, p, x, weights, out)) return l->status;
  } else {
    return es_misfit(l, s, "its tensors' types do not go together");
  }
  p->weights = pack(l, weights, p->units, p->width, integers);
  return l->status;
}

/* n: matrices, rows, inner length, columns. index[0], index[1]: strides, as 32-bit numbers. */
static void batch_matmul(const es_op *op, char *block) {
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

es_status es_batch_matmul(es_loader *l, es_op *op, es_source *s) {
  const es_tensor *x = op->in[0], *w = op->in[1], *out = op->out[0];
  if (!x || !w || x->type != ES_F32 || w->type != ES_F32 || out->type != ES_F32)
    return es_misfit(l, s, "it multiplies other types than float32");
  if (x->rank < 2 || w->rank < 2) return es_misfit(l, s, "its tensors are not matrices");
  size_t at = es_field(s->reader, s->options, 0), at_w = es_field(s->reader, s->options, 1);
  const bool turned_x = at && es_read_u8(s->reader, at);
  const bool turned_w = at_w && es_read_u8(s->reader, at_w);
  const int32_t *dx = x->dims + x->rank - 2, *dw = w->dims + w->rank - 2;
  size_t rows = (size_t)dx[turned_x], inner = (size_t)dx[!turned_x];
  size_t columns = (size_t)dw[!turned_w], matrices = rows && inner ? x->count / (rows * inner) : 0;
  size_t others = columns && inner ? w->count / (columns * inner) : 0;
  if ((size_t)dw[turned_w] != inner || !matrices || (others != 1 && others != matrices) ||
      out->count != matrices * rows * columns)
    return es_misfit(l, s, "its shapes do not fit");
  int32_t *strides = es_take(l, 6 * sizeof *strides);
  if (!strides) return l->status;
  strides[0] = (int32_t)(rows * inner);
  strides[1] = turned_x ? 1 : (int32_t)inner;
  strides[2] = turned_x ? (int32_t)rows : 1;
  strides[3] = others == 1 ? 0 : (int32_t)(columns * inner);
  strides[4] = turned_w ? (int32_t)inner : 1;
  strides[5] = turned_w ? 1 : (int32_t)columns;
  op->index[0] = strides;
  op->index[1] = strides + 3;
  op->n[0] = matrices;
  op->n[1] = rows;
  op->n[2] = inner;
  op->n[3] = columns;
  op->run = batch_matmul;
  return ES_OK;
}

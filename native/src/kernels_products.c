/* SPDX-License-Identifier: Apache-2.0 */
/* FULLY_CONNECTED and BATCH_MATMUL. */
#include "products_plan.h"
#include "run_matmul.h"

/* runs: inputs that are put side by side first. */
static void run_products(const es_op *op, char *block) {
  const es_planned *planned = op->packed;
  for (size_t i = 0; i < op->run_count; i++) {
    const es_run *run = &op->runs[i];
    memcpy((char *)es_at(run->to, block) + run->to_byte,
           (char *)es_at(run->from, block) + run->from_byte, run->bytes);
  }
  const bool backwards = ((const es_stream *)block)->backwards;
  for (size_t i = 0; i < op->n[0]; i++) {
    const es_planned *p = &planned[backwards ? op->n[0] - 1 - i : i];
    const void *x[2] = {es_at(p->x[0], block), p->x[1] ? es_at(p->x[1], block) : NULL};
    p->kernel(&p->product, x, (char *)es_at(p->out, block) + p->out_byte);
  }
}

/* A product of more units is cut into pieces. They are computed from the first to the last, and at
 * the next step from the last to the first: so it begins with the weights that the step before has
 * left in the nearest cache. */
#define PIECE 64

/* Put a term's weights into an instruction set's blocks, behind `before` inputs of another one. */
static void pack(char *packed, const es_products *how, const es_part_term *term, es_sum_kind kind,
                 size_t units, size_t before, size_t width) {
  const es_connected *c = term->connected;
  const size_t size = kind == ES_SUM_F32 ? 4 : kind == ES_SUM_F16 ? 2 : 1;
  const size_t group = kind == ES_SUM_I8 ? how->group : kind == ES_SUM_I16 ? 2 : 1;
  const size_t wide = es_up(width, group);
  const char *from = kind == ES_SUM_F16 ? (const char *)c->weights->half : c->weights->constant;
  for (size_t first = 0, block; first < units; first += block) {
    block = es_block(units - first, how->vector);
    char *to = packed + first * wide * size;
    for (size_t k = 0; k < c->width; k++)
      for (size_t u = 0; u < block && first + u < units; u++) {
        const size_t at = ((before + k) / group * block + u) * group + (before + k) % group;
        memcpy(to + at * size, from + ((term->first + first + u) * c->width + k) * size, size);
      }
  }
}

/* Memory for the packed weights of so many units and inputs. */
static void *take_packed(es_loader *l, const es_products *how, es_sum_kind kind, size_t units,
                         size_t width) {
  const size_t size = kind == ES_SUM_F32 ? 4 : kind == ES_SUM_F16 ? 2 : 1;
  return es_take(l, es_padded(units, how->vector) * es_up(width, how->group) * size);
}

static float scale_of(const es_tensor *t, size_t unit) {
  return t->scales[t->scale_count > 1 ? unit : 0];
}

/* An integer's bias in the sum's units, with what the input's zero point adds to it. */
static int64_t integer_bias(const es_connected *c, size_t unit, int32_t shift) {
  const int8_t *w = (const int8_t *)c->weights->constant + unit * c->width;
  int64_t sum = 0;
  if (c->bias && c->bias->type == ES_I64) sum = ((const int64_t *)c->bias->constant)[unit];
  if (c->bias && c->bias->type == ES_I32) sum = ((const int32_t *)c->bias->constant)[unit];
  for (size_t k = 0; k < c->width; k++) sum -= (int64_t)(c->x->zero_point + shift) * w[k];
  return sum;
}

/* A term as the kernels take it. */
static es_status fill_term(es_loader *l, const es_products *how, const es_part *part, int number,
                           es_planned *planned) {
  const es_part_term *from = &part->terms[number];
  const es_connected *c = from->connected;
  es_term *t = &planned->product.terms[number];
  const size_t padded = es_padded(part->units, how->vector);
  const es_sum_kind kind = c->kind;
  *t = (es_term){.width = c->width, .stride = c->width, .low = c->low, .high = c->high,
                 .step = from->step};
  float *scales = es_take(l, padded * sizeof *scales);
  void *bias = es_take(l, padded * (kind == ES_SUM_I16 ? 8 : 4));
  void *weights = take_packed(l, how, kind, part->units, c->width);
  if (l->status) return l->status;
  pack(weights, how, from, kind, part->units, 0, c->width);
  t->weights = weights;
  for (size_t u = 0; u < part->units; u++) {
    const size_t unit = from->first + u;
    if (kind == ES_SUM_HYBRID) scales[u] = scale_of(c->weights, unit);
    if (kind == ES_SUM_I8 || kind == ES_SUM_I16)
      scales[u] = (float)((double)c->x->scales[0] * (double)scale_of(c->weights, unit) /
                          (double)c->step);
    if (kind == ES_SUM_I16) ((int64_t *)bias)[u] = integer_bias(c, unit, 0);
    else if (kind == ES_SUM_I8)
      ((int32_t *)bias)[u] = (int32_t)integer_bias(c, unit, how->shift);
    else if (c->bias) ((float *)bias)[u] = ((const float *)c->bias->constant)[unit];
  }
  t->scales = scales;
  t->bias = bias;
  planned->x[number] = c->x;
  return ES_OK;
}

/* Two terms of real values become one, whose input is both side by side. */
static es_status fill_joined(es_loader *l, const es_products *how, const es_part *part,
                             es_planned *planned) {
  const es_connected *a = part->terms[0].connected, *b = part->terms[1].connected;
  const size_t width = a->width + b->width;
  float *bias = es_take(l, es_padded(part->units, how->vector) * sizeof *bias);
  void *weights = take_packed(l, how, a->kind, part->units, width);
  if (l->status) return l->status;
  pack(weights, how, &part->terms[0], a->kind, part->units, 0, width);
  pack(weights, how, &part->terms[1], a->kind, part->units, a->width, width);
  for (int t = 0; t < 2; t++) {
    const es_connected *c = part->terms[t].connected;
    for (size_t u = 0; c->bias && u < part->units; u++)
      bias[u] += ((const float *)c->bias->constant)[part->terms[t].first + u];
  }
  planned->product.term_count = 1;
  planned->product.terms[0] =
      (es_term){.width = width, .stride = width, .weights = weights, .bias = bias};
  return ES_OK;
}

/* The place where an operator has two inputs side by side; it is made once for all its products. */
static const es_tensor *joined(es_loader *l, es_op *op, es_run *runs, const es_part *part) {
  const es_connected *a = part->terms[0].connected, *b = part->terms[1].connected;
  for (size_t i = 0; i + 1 < op->run_count; i++)
    if (runs[i].from == a->x && runs[i + 1].from == b->x && runs[i].to == runs[i + 1].to &&
        runs[i].bytes == 4 * a->width && runs[i + 1].bytes == 4 * b->width)
      return runs[i].to;
  es_tensor *both = es_take(l, sizeof *both);
  if (!both) return NULL;
  const size_t width = a->width + b->width;
  *both = (es_tensor){.type = ES_F32, .count = a->rows * width, .bytes = 4 * a->rows * width,
                      .last_reader = -1};
  for (size_t row = 0; row < a->rows; row++) {
    runs[op->run_count++] = (es_run){a->x, both, 4 * row * a->width, 4 * row * width, 4 * a->width};
    runs[op->run_count++] = (es_run){b->x, both, 4 * row * b->width,
                                     4 * (row * width + a->width), 4 * b->width};
  }
  op->in[op->in_count++] = op->out[op->out_count++] = both;
  return both;
}

static bool has_lowest(const es_part *part) {
  for (int i = 0; i < part->term_count; i++) {
    const es_connected *c = part->terms[i].connected;
    const int8_t *w = (const int8_t *)c->weights->constant + part->terms[i].first * c->width;
    for (size_t k = 0; k < part->units * c->width; k++)
      if (w[k] == -128) return true;
  }
  return false;
}

/* The kernels of a part. */
static const es_products *products_of(const es_loader *l, const es_part *part) {
  const es_products *how = l->instructions->products;
  const bool refused = part->terms[0].connected->kind == ES_SUM_I8 && !how->lowest;
  return refused && has_lowest(part) ? &es_products_portable : how;
}

/* How many pieces a part may have. */
static size_t most_pieces(const es_products *how, const es_part *part) {
  return how == &es_products_portable ? 1 : es_up(part->units, PIECE) / PIECE;
}

/* Cut a dense product into pieces, the first of which is the whole; return how many they are. */
static size_t cut(es_planned *pieces, const es_products *how, const es_part *part) {
  const es_planned whole = pieces[0];
  const es_sum_kind kind = part->terms[0].connected->kind;
  const size_t size = kind == ES_SUM_F32 ? 4 : kind == ES_SUM_F16 ? 2 : 1;
  const size_t group = kind == ES_SUM_I8 ? how->group : kind == ES_SUM_I16 ? 2 : 1;
  const size_t count = most_pieces(how, part);
  for (size_t i = 0; i < count && count > 1; i++) {
    es_planned *piece = &pieces[i];
    const size_t first = i * PIECE;
    *piece = whole;
    piece->product.units = part->units - first < PIECE ? part->units - first : PIECE;
    piece->out_byte = first * es_type_bytes(part->out->type);
    for (int n = 0; n < whole.product.term_count; n++) {
      es_term *t = &piece->product.terms[n];
      t->weights = (const char *)t->weights + first * es_up(t->width, group) * size;
      t->bias = (const char *)t->bias + first * (kind == ES_SUM_I16 ? 8 : 4);
      if (t->scales) t->scales += first;
    }
  }
  return count;
}

es_status es_plan_products(es_loader *l, es_op *op, es_part *const *parts, size_t count) {
  size_t most_runs = 1, most = 0, pieces = 0;
  for (size_t i = 0; i < count; i++) {
    most_runs += 2 * parts[i]->terms[0].connected->rows;
    most += most_pieces(l->instructions->products, parts[i]);
  }
  es_planned *all = es_take(l, most * sizeof *all);
  es_run *runs = es_take(l, most_runs * sizeof *runs);
  op->in = es_take(l, 3 * count * sizeof *op->in);
  op->out = es_take(l, 2 * count * sizeof *op->out);
  if (l->status) return l->status;
  for (size_t i = 0; i < count; i++) {
    const es_part *part = parts[i];
    const es_connected *c = part->terms[0].connected;
    const es_products *how = products_of(l, part);
    es_planned *planned = &all[pieces];
    planned->product = (es_product){.units = part->units, .rows = c->rows, .stride = part->units,
                                      .term_count = part->term_count, .low = part->low,
                                      .high = part->high, .zero = part->zero,
                                      .activation = part->activation, .table = part->table};
    planned->kernel = how->kernels[c->kind];
    planned->out = op->out[op->out_count++] = part->out;
    for (int t = 0; t < part->term_count; t++) op->in[op->in_count++] = part->terms[t].connected->x;
    if (part->term_count > 1 && (c->kind == ES_SUM_F32 || c->kind == ES_SUM_F16)) {
      fill_joined(l, how, part, planned);
      planned->x[0] = joined(l, op, runs, part);
    } else {
      for (int t = 0; t < part->term_count; t++) fill_term(l, how, part, t, planned);
    }
    if (l->status) return l->status;
    if (!es_is_sparse(part, how)) {
      pieces += cut(planned, how, part);
      continue;
    }
    pieces++;
    const bool one = planned->product.term_count == 1;
    for (int t = 0; t < planned->product.term_count; t++)
      if (es_fill_sparse(l, how, &part->terms[t], one ? part->term_count : 1, part->units,
                         &planned->product.terms[t]))
        return l->status;
    planned->kernel = c->kind == ES_SUM_I8 ? how->sparse_i8 : how->sparse_f32;
  }
  op->packed = all;
  op->n[0] = pieces;
  op->runs = runs;
  op->code = ES_CODE_NONE;
  op->run = run_products;
  return ES_OK;
}

static es_status check_bias(es_loader *l, es_source *s, const es_connected *c) {
  if (!c->bias) return ES_OK;
  if (!c->bias->constant || c->bias->count != c->units) return es_misfit(l, s, "its bias does not fit");
  const bool wide = c->bias->type == ES_I64 || c->bias->type == ES_I32;
  if (c->kind == ES_SUM_I8 || c->kind == ES_SUM_I16 ? !wide : c->bias->type != ES_F32)
    return es_misfit(l, s, "its bias is of another type");
  return ES_OK;
}

es_status es_fully_connected(es_loader *l, es_op *op, es_source *s) {
  es_tensor *x = op->in[0], *weights = op->in[1], *out = op->out[0];
  es_connected *c = es_take(l, sizeof *c);
  if (!c) return l->status;
  if (!x || !weights || !weights->constant || weights->rank != 2)
    return es_misfit(l, s, "its weights are not a constant matrix");
  if (es_field_i8(s->reader, s->options, 1, 0)) return es_misfit(l, s, "its weights are shuffled");
  *c = (es_connected){.x = x, .weights = weights, .bias = op->in_count > 2 ? op->in[2] : NULL,
                      .units = (size_t)weights->dims[0], .width = (size_t)weights->dims[1]};
  if (!c->width || !c->units || x->count % c->width ||
      out->count != x->count / c->width * c->units)
    return es_misfit(l, s, "its shapes do not fit");
  if (weights->scale_count > 1 && (weights->scale_count != c->units || weights->axis != 0))
    return es_misfit(l, s, "its scales do not fit");
  if (weights->zero_point) return es_misfit(l, s, "its weights have a zero point");
  c->rows = x->count / c->width;
  op->packed = c;
  if (es_activation(l, s, es_field_i8(s->reader, s->options, 0, 0), &c->low, &c->high))
    return l->status;
  const bool bytes = weights->type == ES_I8 && weights->scale_count;
  if (es_is_quantized(x) && x->type == out->type && es_is_quantized(out) && bytes) {
    if (c->width > WIDEST) return es_misfit(l, s, "its input is too wide for sums of 32 bits");
    c->kind = x->type == ES_I8 ? ES_SUM_I8 : ES_SUM_I16;
    c->step = out->scales[0];
    c->zero = out->zero_point;
    es_stored_limits(out, &c->low, &c->high);
  } else if (x->type == ES_F32 && out->type == ES_F32 && (weights->type == ES_F32 || bytes)) {
    c->kind = bytes ? ES_SUM_HYBRID : weights->half ? ES_SUM_F16 : ES_SUM_F32;
  } else {
    return es_misfit(l, s, "its tensors' types do not go together");
  }
  if (check_bias(l, s, c)) return l->status;
  for (size_t u = 0; c->kind == ES_SUM_I8 && u < c->units; u++) {
    const int64_t sum = integer_bias(c, u, 0);
    if (sum > INT32_MAX / 2 || sum < INT32_MIN / 2) return es_fail(l, ES_BAD_MODEL, "a bias is too large");
  }
  return ES_OK;
}

const es_named_kernel es_matmul_kernels[] = {ES_NAMED(batch_matmul), {NULL, NULL}};

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

/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a matrix that is sparse in blocks of ES_SPARSE_UNITS units by one input, without its
 * zeros. */
#include "products_plan.h"

/* A block's inputs are a multiple, so that its loop has no rest. */
#define STRIDE 16

/* Whether a block of units has a weight of an input. */
static bool has_weights(const es_part_term *term, size_t first, size_t k) {
  const es_connected *c = term->connected;
  for (size_t u = 0; u < ES_SPARSE_UNITS; u++) {
    const size_t at = (term->first + first + u) * c->width + k;
    if (c->kind == ES_SUM_I8 ? ((const int8_t *)c->weights->constant)[at] != 0
                             : ((const float *)c->weights->constant)[at] != 0)
      return true;
  }
  return false;
}

bool es_is_sparse(const es_part *part, const es_products *how) {
  const es_sum_kind kind = part->terms[0].connected->kind;
  if (kind == ES_SUM_F32 ? !how->sparse_f32 : kind != ES_SUM_I8 || !how->sparse_i8) return false;
  if (part->units % ES_SPARSE_UNITS) return false;
  size_t width = 0, full = 0, blocks = 0;
  for (int t = 0; t < part->term_count; t++) width += part->terms[t].connected->width;
  const size_t most = part->units / ES_SPARSE_UNITS * es_up(width, STRIDE);
  if (width < (kind == ES_SUM_I8 ? 128 : 64) || width > UINT16_MAX || most > ES_SPARSE_MOST)
    return false;
  for (int t = 0; t < part->term_count; t++)
    for (size_t first = 0; first < part->units; first += ES_SPARSE_UNITS)
      for (size_t k = 0; k < part->terms[t].connected->width; k++, blocks++)
        full += has_weights(&part->terms[t], first, k);
  return full <= blocks / 2;
}

/* Where a matrix's weights go, and how they lie. */
typedef struct {
  const es_part_term *terms;
  int term_count;
  size_t together, group, size; /* blocks, inputs of a unit side by side, bytes of a weight */
  char *weights;
  uint16_t *places;
  uint8_t *near;
} packing;

/* Put one block's weights behind `begin`, as number `block` of those that are summed together; return
 * how many inputs it has. */
static size_t pack_block(const packing *to, size_t first, size_t begin, size_t block) {
  size_t count = 0, before = 0;
  for (int n = 0; n < to->term_count; before += to->terms[n++].connected->width) {
    const es_connected *c = to->terms[n].connected;
    for (size_t k = 0; k < c->width; k++) {
      if (!has_weights(&to->terms[n], first, k)) continue;
      const size_t many = begin + (count / to->group * to->together + block) * to->group;
      const size_t at = many + count % to->group;
      for (size_t u = 0; u < ES_SPARSE_UNITS; u++)
        memcpy(to->weights + (many * ES_SPARSE_UNITS + u * to->group + count % to->group) * to->size,
               (const char *)c->weights->constant +
                   ((to->terms[n].first + first + u) * c->width + k) * to->size,
               to->size);
      to->near[at] = (uint8_t)(before + k);
      to->places[at] = (uint16_t)(before + k);
      count++;
    }
  }
  return count;
}

es_status es_fill_sparse(es_loader *l, const es_products *how, const es_part_term *terms,
                         int term_count, size_t units, es_term *t) {
  const bool bytes = terms[0].connected->kind == ES_SUM_I8;
  const size_t blocks = units / ES_SPARSE_UNITS, most = blocks * es_up(t->width, STRIDE);
  const size_t together = bytes && blocks % how->sparse_blocks == 0 ? how->sparse_blocks : 1;
  packing to = {terms, term_count, together, bytes ? how->group : 1, bytes ? 1 : 4, NULL, NULL, NULL};
  to.places = es_take(l, most * sizeof *to.places);
  to.near = es_take(l, es_up(most, 64)); /* read in vectors */
  to.weights = es_take(l, most * ES_SPARSE_UNITS * to.size);
  uint32_t *begins = es_take(l, (blocks / together + 1) * sizeof *begins), begin = 0;
  if (l->status) return l->status;
  for (size_t i = 0; i < blocks / together; i++) {
    size_t longest = 0;
    begins[i] = begin;
    for (size_t b = 0; b < together; b++) {
      const size_t first = (i * together + b) * ES_SPARSE_UNITS;
      const size_t count = pack_block(&to, first, begin, b);
      if (count > longest) longest = count;
    }
    /* what is filled up has weights of zero, of the first input */
    begin += (uint32_t)(es_up(longest, together > 1 ? STRIDE / 2 : STRIDE) * together);
  }
  begins[blocks / together] = begin;
  t->weights = to.weights;
  t->places = to.places;
  t->begins = begins;
  t->together = (uint32_t)together;
  t->near = t->width <= 256 ? to.near : NULL;
  return ES_OK;
}

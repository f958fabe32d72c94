/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices that are sparse in blocks of ES_SPARSE_UNITS; products_lanes.h includes it. */
#define SPARSE_VECTORS (ES_SPARSE_UNITS / LANES)

static void sparse_f32(const es_product *p, const void *const *inputs, void *outputs) {
  const es_term *t = &p->terms[0];
  for (size_t row = 0; row < p->rows; row++) {
    const float *x = (const float *)inputs[0] + row * t->stride;
    float *y = (float *)outputs + row * p->stride;
    for (size_t first = 0; first < p->units; first += ES_SPARSE_UNITS) {
      const uint32_t *begin = t->begins + first / ES_SPARSE_UNITS;
      const float *w = (const float *)t->weights + begin[0] * ES_SPARSE_UNITS;
      const uint16_t *places = t->places + begin[0];
      reals z[4], other[4];
#pragma GCC unroll 4
      for (size_t v = 0; v < SPARSE_VECTORS; v++) {
        z[v] = load_f32((const float *)t->bias + first + v * LANES);
        other[v] = reals_of(0);
      }
      for (uint32_t k = begin[0]; k < begin[1]; k += 4, places += 4)
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) {
          const reals one = reals_of(x[places[i]]);
#pragma GCC unroll 4
          for (size_t v = 0; v < SPARSE_VECTORS; v++, w += LANES) {
            if (i % 2) other[v] = times_plus(load_f32(w), one, other[v]);
            else z[v] = times_plus(load_f32(w), one, z[v]);
          }
        }
#pragma GCC unroll 4
      for (size_t v = 0; v < SPARSE_VECTORS; v++) z[v] = z[v] + other[v];
      finish_f32(p, SPARSE_VECTORS, z, y + first, ES_SPARSE_UNITS);
    }
  }
}

#ifndef look_up_many
#define look_up_many look_up
#endif

/* The inputs that each block has weights of, one block after another. */
INLINE void take_inputs(const es_term *t, size_t blocks, const int8_t *x, int8_t *taken) {
  int8_t whole[256]; /* a table is as long */
  if (t->near) {
    memset(whole, 0, sizeof whole);
    memcpy(whole, x, t->width);
    look_up_many(whole, (const int8_t *)t->near, taken, t->begins[blocks]);
  } else {
    for (size_t i = 0; i < t->begins[blocks]; i++) taken[i] = x[t->places[i]];
  }
}

/* With its inputs side by side a block is a small dense matrix. */
INLINE void sparse_term(const es_term *t, size_t first, const int8_t *taken, reals *z) {
  const uint32_t *begin = t->begins + first / ES_SPARSE_UNITS;
  integers sums[1][4];
  integer_sums(SPARSE_VECTORS, 1, (const int8_t *)t->weights + begin[0] * ES_SPARSE_UNITS,
               begin[1] - begin[0], taken + begin[0], 0, (const int32_t *)t->bias + first, sums);
#pragma GCC unroll 4
  for (size_t v = 0; v < SPARSE_VECTORS; v++) {
    const reals steps = to_reals(sums[0][v]) * load_f32(t->scales + first + v * LANES);
    z[v] = limited(steps, t->low, t->high);
  }
}

static void sparse_i8(const es_product *p, const void *const *inputs, void *outputs) {
  int8_t taken[2][ES_SPARSE_MOST];
  for (size_t row = 0; row < p->rows; row++) {
    int8_t *y = (int8_t *)outputs + row * p->stride;
    for (int i = 0; i < p->term_count; i++)
      take_inputs(&p->terms[i], p->units / ES_SPARSE_UNITS,
                  (const int8_t *)inputs[i] + row * p->terms[i].stride, taken[i]);
    for (size_t first = 0; first < p->units; first += ES_SPARSE_UNITS) {
      reals z[4], other[4];
      sparse_term(&p->terms[0], first, taken[0], z);
      if (p->term_count > 1) {
        const reals step = reals_of(p->terms[0].step), other_step = reals_of(p->terms[1].step);
        sparse_term(&p->terms[1], first, taken[1], other);
#pragma GCC unroll 4
        for (size_t v = 0; v < SPARSE_VECTORS; v++)
          z[v] = limited(nearest(z[v]) * step + nearest(other[v]) * other_step, p->low, p->high);
      }
      finish_i8(p, SPARSE_VECTORS, z, y + first, ES_SPARSE_UNITS);
    }
  }
}

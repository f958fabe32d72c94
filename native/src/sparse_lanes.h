/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices that are sparse in blocks of ES_SPARSE_UNITS; products_lanes.h includes it. */
#define SPARSE_VECTORS (ES_SPARSE_UNITS / LANES)
#define SPARSE_BLOCKS (MOST / ES_SPARSE_UNITS)

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
/* Inputs are gathered as four_of would have made them, if that is by SHIFT alone. */
#ifdef four_moved
#define MOVED(x) ((int8_t)((x) ^ SHIFT))
#else
#define MOVED(x) (x)
#define four_moved four_of
#endif

/* The inputs that blocks have weights of, as their weights lie. */
INLINE void take_inputs(const es_term *t, size_t blocks, const int8_t *x, int8_t *taken) {
  int8_t whole[256]; /* a table is as long */
  if (t->near) {
    memset(whole, 0, sizeof whole);
    for (size_t i = 0; i < t->width; i++) whole[i] = MOVED(x[i]);
    look_up_many(whole, (const int8_t *)t->near, taken, t->begins[blocks]);
  } else {
    for (size_t i = 0; i < t->begins[blocks]; i++) taken[i] = MOVED(x[t->places[i]]);
  }
}

/* Blocks that are summed together, each with inputs of its own. */
INLINE void sparse_sums(size_t blocks, const es_term *t, size_t first, const int8_t *taken,
                        integers *sums) {
  const size_t vectors = blocks * SPARSE_VECTORS, sets = vectors == 4 ? 2 : 4;
  const uint32_t *begin = t->begins + first / (blocks * ES_SPARSE_UNITS);
  const int8_t *w = (const int8_t *)t->weights + begin[0] * ES_SPARSE_UNITS;
  integers a[16];
#pragma GCC unroll 16
  for (size_t i = 0; i < sets * vectors; i++) a[i] = integers_of(0);
  for (const int8_t *x = taken + begin[0], *end = taken + begin[1]; x < end;)
#pragma GCC unroll 4
    for (size_t set = 0; set < sets; set++)
#pragma GCC unroll 4
      for (size_t block = 0; block < blocks; block++, x += 4) {
        const fours x4 = four_moved(four_at(x));
#pragma GCC unroll 4
        for (size_t v = 0; v < SPARSE_VECTORS; v++, w += LANES * 4) {
          const size_t i = set * vectors + block * SPARSE_VECTORS + v;
          a[i] = dot4(a[i], w, x4);
        }
      }
#pragma GCC unroll 4
  for (size_t v = 0; v < vectors; v++) {
    sums[v] = a[v] + load_i32((const int32_t *)t->bias + first + v * LANES);
#pragma GCC unroll 4
    for (size_t set = 1; set < sets; set++) sums[v] += a[set * vectors + v];
  }
}

INLINE void sparse_term(size_t blocks, const es_term *t, size_t first, const int8_t *taken,
                        reals *z) {
  integers sums[4];
  sparse_sums(blocks, t, first, taken, sums);
#pragma GCC unroll 4
  for (size_t v = 0; v < blocks * SPARSE_VECTORS; v++) {
    const reals steps = to_reals(sums[v]) * load_f32(t->scales + first + v * LANES);
    z[v] = limited(steps, t->low, t->high);
  }
}

INLINE void sparse_rows(size_t blocks, const es_product *p, const void *const *inputs,
                        void *outputs) {
  const size_t vectors = blocks * SPARSE_VECTORS, units = blocks * ES_SPARSE_UNITS;
  int8_t taken[2][ES_SPARSE_MOST];
  for (size_t row = 0; row < p->rows; row++) {
    int8_t *y = (int8_t *)outputs + row * p->stride;
    for (int i = 0; i < p->term_count; i++)
      take_inputs(&p->terms[i], p->units / units,
                  (const int8_t *)inputs[i] + row * p->terms[i].stride, taken[i]);
    for (size_t first = 0; first < p->units; first += units) {
      reals z[4], other[4];
      sparse_term(blocks, &p->terms[0], first, taken[0], z);
      if (p->term_count > 1) {
        const reals step = reals_of(p->terms[0].step), other_step = reals_of(p->terms[1].step);
        sparse_term(blocks, &p->terms[1], first, taken[1], other);
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++)
          z[v] = limited(nearest(z[v]) * step + nearest(other[v]) * other_step, p->low, p->high);
      }
      finish_i8(p, vectors, z, y + first, units);
    }
  }
}

static void sparse_i8(const es_product *p, const void *const *inputs, void *outputs) {
  if (p->terms[0].together == SPARSE_BLOCKS) sparse_rows(SPARSE_BLOCKS, p, inputs, outputs);
  else sparse_rows(1, p, inputs, outputs);
}

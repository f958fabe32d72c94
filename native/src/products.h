/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix times vector, one file an instruction set.
 *
 * Weights are packed once, at load. Units come in blocks of 32, then of 8, the last one filled up
 * with zeros. A block has, for each value of the input, the weights of its units side by side. In
 * int8 the weights of two inputs stand together for each unit: [inputs / 2][units][2].
 */
#ifndef ES_PRODUCTS_H
#define ES_PRODUCTS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  size_t units, width;
  const void *weights; /* packed */
  const void *bias;    /* float; int32 with the input's zero point in it; int64; padded to blocks */
  const float *scales; /* of a sum in steps of the output; of a weight, if values are float */
  float low, high;     /* limits, without the output's zero point */
  int32_t zero;
} es_product;

typedef struct {
  const char *name;
  void (*f32)(const es_product *, const float *x, float *y);
  /* int8 weights, float values. */
  void (*hybrid)(const es_product *, const float *x, float *y);
  void (*i8)(const es_product *, const int8_t *x, int8_t *y);
  void (*i16)(const es_product *, const int16_t *x, int16_t *y);
} es_products;

extern const es_products es_products_portable;
#if defined(__x86_64__) && defined(__GNUC__)
#define ES_HAVE_AVX2
extern const es_products es_products_avx2;
#endif
const es_products *es_products_here(void);

static inline size_t es_padded(size_t units) { return (units + 7) / 8 * 8; }
static inline size_t es_even(size_t width) { return width + width % 2; }
/* How many units the block that begins here has. */
static inline size_t es_block(size_t units_left) { return units_left >= 32 ? 32 : 8; }
#endif

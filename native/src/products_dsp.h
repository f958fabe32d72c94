/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of products of int8 by the DSP instructions of Cortex-M4, M7, M33 and others: two products of
 * 16 bits in one. The same bits as the portable sums, which do not overflow. */
#ifndef ES_PRODUCTS_DSP_H
#define ES_PRODUCTS_DSP_H

#include <string.h>

/* Two of four bytes as 16 bits each: the even ones; the odd ones. */
static inline uint32_t even_bytes(uint32_t four) {
  uint32_t two;
  __asm__("sxtb16 %0, %1" : "=r"(two) : "r"(four));
  return two;
}
static inline uint32_t odd_bytes(uint32_t four) {
  uint32_t two;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(two) : "r"(four));
  return two;
}
/* sum + the two products of both halves */
static inline int32_t plus_products(int32_t sum, uint32_t a, uint32_t b) {
  int32_t more;
  __asm__("smlad %0, %1, %2, %3" : "=r"(more) : "r"(a), "r"(b), "r"(sum));
  return more;
}

static inline void sum_quad_i8(const int8_t *w, size_t step, const int8_t *x, size_t width,
                               int32_t sums[ES_QUAD]) {
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  size_t k = 0;
  for (; k < width; k += 4, w += step) {
    uint32_t four = 0, weights[ES_QUAD];
    memcpy(weights, w, sizeof weights);
    if (k + 4 <= width)
      memcpy(&four, x + k, 4);
    else /* the last few, filled up with zeros */
      for (size_t i = 0; k + i < width; i++) four |= (uint32_t)(uint8_t)x[k + i] << (8 * i);
    const uint32_t even = even_bytes(four), odd = odd_bytes(four);
    a = plus_products(plus_products(a, even, even_bytes(weights[0])), odd, odd_bytes(weights[0]));
    b = plus_products(plus_products(b, even, even_bytes(weights[1])), odd, odd_bytes(weights[1]));
    c = plus_products(plus_products(c, even, even_bytes(weights[2])), odd, odd_bytes(weights[2]));
    d = plus_products(plus_products(d, even, even_bytes(weights[3])), odd, odd_bytes(weights[3]));
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}
#endif

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

static inline int32_t plus_four(int32_t sum, const int8_t *w, uint32_t even, uint32_t odd) {
  uint32_t four;
  memcpy(&four, w, 4);
  return plus_products(plus_products(sum, even, even_bytes(four)), odd, odd_bytes(four));
}

static inline void sum_quad_i8(const int8_t *w, size_t step, const int8_t *x, size_t width,
                               int32_t sums[ES_QUAD]) {
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (; width; w += step) {
    uint32_t four = 0;
    if (width >= 4) {
      memcpy(&four, x, 4);
      x += 4;
      width -= 4;
    } else { /* the last few, filled up with zeros */
      while (width) four = four << 8 | (uint8_t)x[--width];
    }
    const uint32_t even = even_bytes(four), odd = odd_bytes(four);
    a = plus_four(a, w, even, odd);
    b = plus_four(b, w + 4, even, odd);
    c = plus_four(c, w + 8, even, odd);
    d = plus_four(d, w + 12, even, odd);
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}
#endif

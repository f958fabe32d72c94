/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of an instruction set share, in its vectors. Integers come out
 * as in C for any machine; real functions as near as functions_lanes.h says. An instruction set's file includes this after it
 * has defined
 *
 *     LANES, ROWS             values of a vector, rows that share a reading of the weights
 *     reals, integers         its vectors of float and of int32, of the compiler's own operators
 *     reals_of, integers_of   one value in all lanes
 *     load_f32, load_f16, load_i8     LANES weights as reals
 *     load_wide, store_narrow LANES int8 as integers, and back
 *     times_plus(a, b, c)     a b + c
 *     store_f32, load_i32
 *     to_reals(integers)      converted; to_integers(reals): the same bits
 *     lesser(a, b), greater(a, b)     the second one if one is NaN
 *     reciprocal(x)           1 / x, to about the last bit
 *     four_of(bytes)          four int8 inputs, as the next one wants them in `fours`
 *     four_moved(bytes)       the same of inputs that are moved by SHIFT, if that is faster
 *     dot4(a, w, x)           a + the sums of four products each, of int8
 *     dot2(a, w, x)           a + the sums of two products each, of int8 weights and int16
 *     look_up(table, x, y, n) y[i] = table[(uint8_t)x[i]]
 *     look_up_many            the same of more, with room for a multiple of 64, if that is faster
 *     store_looked_up(to, table, integers)     both of the last two, if that is faster
 *     SHIFT, LOWEST           of es_products
 */
#include "functions_lanes.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE reals limited(reals value, float low, float high) {
  return lesser(reals_of(high), greater(reals_of(low), value));
}
/* To whole numbers, for |value| < 2^22; ties to even. */
INLINE reals nearest(reals value) { return (value + reals_of(12582912.0f)) - reals_of(12582912.0f); }
INLINE integers rounded(reals value) {
  return to_integers(value + reals_of(12582912.0f)) - integers_of(0x4B400000);
}

INLINE reals tanh_reals(reals x) {
  x = limited(x, -9.0f, 9.0f);
  const reals s = x * x;
  reals p = times_plus(reals_of(TANH_P4), s, reals_of(TANH_P3));
  reals q = times_plus(reals_of(TANH_Q4), s, reals_of(TANH_Q3));
  p = times_plus(p, s, reals_of(TANH_P2));
  q = times_plus(q, s, reals_of(TANH_Q2));
  p = times_plus(p, s, reals_of(TANH_P1));
  q = times_plus(q, s, reals_of(TANH_Q1));
  p = times_plus(p, s, reals_of(TANH_P0));
  q = times_plus(q, s, reals_of(1.0f));
  return limited(x * p * reciprocal(q), -1.0f, 1.0f);
}
INLINE reals exp_reals(reals x) {
  x = limited(x, -87.0f, 88.0f);
  const reals n = nearest(x * reals_of(1.44269504f));
  reals r = times_plus(n, reals_of(-0.693359375f), x);
  r = times_plus(n, reals_of(2.12194440e-4f), r);
  reals sum = times_plus(reals_of(1.9875691500e-4f), r, reals_of(1.3981999507e-3f));
  sum = times_plus(sum, r, reals_of(8.3334519073e-3f));
  sum = times_plus(sum, r, reals_of(4.1665795894e-2f));
  sum = times_plus(sum, r, reals_of(1.6666665459e-1f));
  sum = times_plus(sum, r, reals_of(5.0000001201e-1f));
  sum = times_plus(sum * r, r, r) + reals_of(1.0f);
  return sum * from_integers((rounded(n) + integers_of(127)) << 23);
}
/* Exact to the last digits where it is near 0, too: some cells divide by it. */
INLINE reals logistic_reals(reals x) {
  return reciprocal(reals_of(1.0f) + exp_reals(reals_of(0.0f) - x));
}

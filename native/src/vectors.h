/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of an instruction set share, in its vectors. They compute the bits of the scalar
 * functions of arithmetic.h and functions_lanes.h. An instruction set's file includes this after it
 * has defined
 *
 *     LANES, ROWS             values of a vector, rows that share a reading of the weights
 *     reals, integers         its vectors of float and of int32, of the compiler's own operators
 *     reals_of, integers_of   one value in all lanes
 *     load_f32, load_f16, load_i8     LANES weights as reals
 *     load_wide, store_narrow LANES int8 as integers, and back
 *     times_plus(a, b, c)     a b + c
 *     store_f32, load_i32
 *     to_reals(integers)      converted; to_integers: the same bits
 *     lesser(a, b), greater(a, b)     the second one if one is NaN
 *     choose(a, b, x, y)      x where a < b, else y
 *     four_of(bytes)          four int8 inputs, as the next one wants them in `fours`
 *     dot4(a, w, x)           a + the sums of four products each, of int8
 *     dot2(a, w, x)           a + the sums of two products each, of int8 weights and int16
 *     look_up(table, x, y, n) y[i] = table[(uint8_t)x[i]]
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

INLINE reals exp_reals(reals x) {
  x = limited(x, -87.0f, 88.0f);
  const reals n = nearest(x * reals_of(1.44269504f));
  const reals r = (x - n * reals_of(0.693359375f)) + n * reals_of(2.12194440e-4f);
  reals sum = reals_of(1.9875691500e-4f);
  sum = sum * r + reals_of(1.3981999507e-3f);
  sum = sum * r + reals_of(8.3334519073e-3f);
  sum = sum * r + reals_of(4.1665795894e-2f);
  sum = sum * r + reals_of(1.6666665459e-1f);
  sum = sum * r + reals_of(5.0000001201e-1f);
  sum = sum * r * r + r + reals_of(1.0f);
  return sum * from_integers((rounded(n) + integers_of(127)) << 23);
}
INLINE reals logistic_reals(reals x) {
  return reals_of(1.0f) / (reals_of(1.0f) + exp_reals(-x));
}
INLINE reals tanh_reals(reals x) {
  const reals v = limited(x, -9.0f, 9.0f), square = v * v;
  const reals far = reals_of(1.0f) - reals_of(2.0f) / (exp_reals(reals_of(2.0f) * v) + reals_of(1.0f));
  reals near = reals_of(-5.70498872745e-3f);
  near = near * square + reals_of(2.06390887954e-2f);
  near = near * square - reals_of(5.37397155531e-2f);
  near = near * square + reals_of(1.33314422036e-1f);
  near = near * square - reals_of(3.33332819422e-1f);
  near = near * square * v + v;
  return choose(square, reals_of(0.390625f), near, far);
}

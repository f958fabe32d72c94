/* SPDX-License-Identifier: Apache-2.0 */
/* WebAssembly with vectors of 128 bits: browsers since 2021 (Safari since 2023). */
#include "arithmetic.h"
#include "instruction_set.h"

#ifdef ES_HAVE_WASM
#include <string.h>
#include <wasm_simd128.h>

#define LANES 4
#define ROWS 2
#define SHIFT 0
#define LOWEST true
typedef float reals __attribute__((vector_size(16)));
typedef int32_t integers __attribute__((vector_size(16)));
/* Four inputs in 16 bits, twice. */
typedef v128_t fours;

#define reals_of(value) ((reals)wasm_f32x4_splat(value))
#define integers_of(value) ((integers)wasm_i32x4_splat(value))
#define load_f32(from) ((reals)wasm_v128_load(from))
#define store_f32(to, from) wasm_v128_store(to, (v128_t)(from))
#define load_i32(from) ((integers)wasm_v128_load(from))
#define times_plus(a, b, c) ((a) * (b) + (c))
#define to_reals(from) ((reals)wasm_f32x4_convert_i32x4((v128_t)(from)))
#define to_integers(from) ((integers)(from))
#define from_integers(from) ((reals)(from))
/* These give their first operand if one is NaN. */
#define lesser(a, b) ((reals)wasm_f32x4_pmin((v128_t)(b), (v128_t)(a)))
#define greater(a, b) ((reals)wasm_f32x4_pmax((v128_t)(b), (v128_t)(a)))
#define reciprocal(x) (reals_of(1.0f) / (x))

static inline integers load_wide(const int8_t *from) {
  const v128_t bytes = wasm_v128_load32_zero(from);
  return (integers)wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(bytes));
}
#define load_i8(from) to_reals(load_wide(from))
static inline void store_narrow(int8_t *to, integers from) {
  const v128_t half = wasm_i16x8_narrow_i32x4((v128_t)from, (v128_t)from);
  const int32_t four = wasm_i32x4_extract_lane(wasm_i8x16_narrow_i16x8(half, half), 0);
  memcpy(to, &four, 4);
}
/* A half's exponent is too large by 112 where it stands in a float's place. */
static inline reals load_f16(const uint16_t *from) {
  const v128_t half = wasm_u32x4_load16x4(from);
  const v128_t sign = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_splat(0x8000)), 16);
  const v128_t size = wasm_i32x4_shl(wasm_v128_and(half, wasm_i32x4_splat(0x7FFF)), 13);
  v128_t real = wasm_f32x4_mul(size, wasm_i32x4_splat(0x77800000)); /* 2^112 */
  const v128_t none = wasm_i32x4_ge(size, wasm_i32x4_splat(0x0F800000)); /* infinite, NaN */
  real = wasm_v128_or(real, wasm_v128_and(none, wasm_i32x4_splat(0x7F800000)));
  return (reals)wasm_v128_or(real, sign);
}

static inline fours four_of(int32_t bytes) {
  /* LLVM 14 moves a load that repeats one value in all lanes past a later write to its place. */
  __asm__("" : "+r"(bytes));
  return wasm_i16x8_extend_low_i8x16(wasm_i32x4_splat(bytes));
}
static inline integers dot4(integers a, const int8_t *w, fours x) {
  const v128_t four = wasm_v128_load(w);
  const v128_t low = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(four), x);
  const v128_t high = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(four), x);
  return a + (integers)wasm_i32x4_shuffle(low, high, 0, 2, 4, 6) +
         (integers)wasm_i32x4_shuffle(low, high, 1, 3, 5, 7);
}
static inline integers dot2(integers a, const int8_t *w, int32_t x) {
  return a + (integers)wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(w), wasm_i32x4_splat(x));
}
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = table[(uint8_t)x[i]];
}

#include "vectors.h"
#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_wasm = {"wasm-simd128", &products, &elementwise};
#endif

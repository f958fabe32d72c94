/* SPDX-License-Identifier: Apache-2.0 */
/* What NEON with and without the dot product have in common; aarch64 and armv7. */
#include <arm_neon.h>
#include <string.h>

#define LANES 4
#define ROWS 2
#define SHIFT 0
#define LOWEST true
typedef float32x4_t reals;
typedef int32x4_t integers;
typedef int8x16_t fours;

#define reals_of(value) vdupq_n_f32(value)
#define integers_of(value) vdupq_n_s32(value)
#define load_f32(from) vld1q_f32(from)
#define store_f32(to, from) vst1q_f32(to, from)
#define load_i32(from) vld1q_s32(from)
#define to_reals(from) vcvtq_f32_s32(from)
#define to_integers(from) vreinterpretq_s32_f32(from)
#define from_integers(from) vreinterpretq_f32_s32(from)
#define lesser(a, b) vminq_f32(a, b)
#define greater(a, b) vmaxq_f32(a, b)

static inline reals reciprocal(reals x) {
  reals near = vrecpeq_f32(x); /* each step of Newton's method doubles its digits */
  near = vmulq_f32(near, vrecpsq_f32(x, near));
  return vmulq_f32(near, vrecpsq_f32(x, near));
}
#define four_of(bytes) vreinterpretq_s8_s32(vdupq_n_s32(bytes))

static inline integers load_wide(const int8_t *from) {
  int32_t four;
  memcpy(&four, from, 4);
  return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)))));
}
#define load_i8(from) vcvtq_f32_s32(load_wide(from))
static inline void store_narrow(int8_t *to, integers from) {
  const int16x4_t half = vmovn_s32(from);
  const int32_t four = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(half, half))), 0);
  memcpy(to, &four, 4);
}
static inline int32x4_t add_neighbours(int32x4_t a, int32x4_t b) {
#ifdef __aarch64__
  return vpaddq_s32(a, b);
#else
  return vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)),
                      vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
#endif
}
static inline integers dot2(integers a, const int8_t *w, int32_t x) {
  const int16x8_t wide = vmovl_s8(vld1_s8(w)), pair = vreinterpretq_s16_s32(vdupq_n_s32(x));
  return vaddq_s32(a, add_neighbours(vmull_s16(vget_low_s16(wide), vget_low_s16(pair)),
                                     vmull_s16(vget_high_s16(wide), vget_high_s16(pair))));
}
#ifdef __aarch64__
#define times_plus(a, b, c) vfmaq_f32(c, a, b)
static inline reals load_f16(const uint16_t *from) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
}
/* The table's 256 bytes lie in sixteen vectors; an index that is too large gives 0. */
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  const uint8_t *bytes = (const uint8_t *)table;
  const uint8x16x4_t a = vld1q_u8_x4(bytes), b = vld1q_u8_x4(bytes + 64),
                     c = vld1q_u8_x4(bytes + 128), d = vld1q_u8_x4(bytes + 192);
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const uint8x16_t at = vld1q_u8((const uint8_t *)x + i), quarter = vdupq_n_u8(64);
    const uint8x16_t at_b = vsubq_u8(at, quarter), at_c = vsubq_u8(at_b, quarter);
    uint8x16_t found = vqtbl4q_u8(a, at);
    found = vorrq_u8(found, vqtbl4q_u8(b, at_b));
    found = vorrq_u8(found, vqtbl4q_u8(c, at_c));
    found = vorrq_u8(found, vqtbl4q_u8(d, vsubq_u8(at_c, quarter)));
    vst1q_u8((uint8_t *)y + i, found);
  }
  for (; i < count; i++) y[i] = table[(uint8_t)x[i]];
}
#else
#define times_plus(a, b, c) vmlaq_f32(c, a, b)
static inline reals load_f16(const uint16_t *from) {
  const float four[4] = {es_half_to_float(from[0]), es_half_to_float(from[1]),
                         es_half_to_float(from[2]), es_half_to_float(from[3])};
  return vld1q_f32(four);
}
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = table[(uint8_t)x[i]];
}
#endif

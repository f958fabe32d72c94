/* SPDX-License-Identifier: Apache-2.0 */
/* NEON without the dot product: Cortex-A53, A72 and others, and armv7. */
#include "arithmetic.h"
#include "instruction_set.h"

#ifdef ES_HAVE_NEON
#include "neon_lanes.h"

static inline integers dot4(integers a, const int8_t *w, fours x) {
  const int8x16_t four = vld1q_s8(w);
  const int16x8_t low = vmull_s8(vget_low_s8(four), vget_low_s8(x)),
                  high = vmull_s8(vget_high_s8(four), vget_high_s8(x));
  return vaddq_s32(a, add_neighbours(vpaddlq_s16(low), vpaddlq_s16(high)));
}

#include "vectors.h"
#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_neon = {"neon", &products, &elementwise};
#endif

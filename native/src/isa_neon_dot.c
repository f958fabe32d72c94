/* SPDX-License-Identifier: Apache-2.0 */
/* NEON with the dot product: Cortex-A55, A76, Apple's and later. */
#include "arithmetic.h"
#include "instruction_set.h"

#ifdef ES_HAVE_NEON_DOT
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include "neon_lanes.h"

#define dot4(a, w, x) vdotq_s32(a, vld1q_s8(w), x)

#include "vectors.h"
#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_neon_dot = {"neon-dotprod", &products, &elementwise};
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2 with VNNI in its vectors: Alder Lake, Meteor Lake, Zen 5 and later, which may lack AVX-512. */
#include "instruction_set.h"

#ifdef ES_HAVE_AVX_VNNI
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif
#include "avx2_lanes.h"

/* Inputs are made positive: the instruction multiplies unsigned bytes by signed ones. Their vector
 * is loaded whole first: a scalar would pass through the port that shuffles, twice. */
#define SHIFT 128
#define LOWEST true
typedef __m256i fours;
#define four_of(bytes) _mm256_xor_si256(_mm256_set1_epi32(bytes), _mm256_set1_epi8(-128))
#define four_moved(bytes) _mm256_set1_epi32(bytes)
#define dot4(a, w, x) \
  ((integers)_mm256_dpbusd_avx_epi32((__m256i)(a), x, _mm256_loadu_si256((const void *)(w))))

#include "vectors.h"
#include "bytes_lanes.h"
#include "products_lanes.h"
#include "elementwise_lanes.h"

const es_instructions es_avx_vnni = {"avx-vnni", &products, &elementwise};
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif

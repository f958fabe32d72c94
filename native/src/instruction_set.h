/* SPDX-License-Identifier: Apache-2.0 */
/* What an instruction set brings: products of matrices, and operators element by element.
 *
 * One file each: it says for which instructions it is compiled, names its vectors, and includes
 * products_lanes.h and elementwise_lanes.h. It is chosen when a model is loaded. */
#ifndef ES_INSTRUCTION_SET_H
#define ES_INSTRUCTION_SET_H

#include "elementwise.h"
#include "products.h"

typedef struct {
  const char *name;
  const es_products *products;
  const es_elementwise *elementwise;
} es_instructions;

#if defined(__x86_64__) && defined(__GNUC__)
#ifndef ES_NO_AVX2
#define ES_HAVE_AVX2
extern const es_instructions es_avx2;
#endif
#ifndef ES_NO_AVX512
#define ES_HAVE_AVX512
extern const es_instructions es_avx512;
#endif
#endif
#if defined(__ARM_NEON) && defined(__GNUC__) && !defined(ES_NO_NEON)
#define ES_HAVE_NEON
extern const es_instructions es_neon;
#ifdef __aarch64__
#define ES_HAVE_NEON_DOT
extern const es_instructions es_neon_dot;
#endif
#endif
extern const es_instructions es_portable;

/* The best one of this machine. */
const es_instructions *es_instructions_here(void);
#endif

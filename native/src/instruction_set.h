/* SPDX-License-Identifier: Apache-2.0 */
/* What an instruction set brings: products of matrices, and operators element by element.
 *
 * One file each: it says for which instructions it is compiled, names its vectors, and includes
 * products_lanes.h and elementwise_lanes.h. It is chosen when a model is loaded. */
#ifndef ES_INSTRUCTION_SET_H
#define ES_INSTRUCTION_SET_H

#include "elementwise.h"
#include "products.h"

typedef struct es_instructions {
  const char *name;
  const es_products *products;
  const es_elementwise *elementwise;
} es_instructions;

#if defined(__x86_64__) && defined(__GNUC__)
#ifndef ES_NO_AVX2
#define ES_HAVE_AVX2
extern const es_instructions es_avx2;
/* Compilers from GCC 11 and clang 12 on know it. */
#if !defined(ES_NO_AVX_VNNI) && (__GNUC__ >= 11 || defined(__clang__) && __clang_major__ >= 12)
#define ES_HAVE_AVX_VNNI
extern const es_instructions es_avx_vnni;
#endif
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
#if defined(__wasm_simd128__) && !defined(ES_NO_WASM)
#define ES_HAVE_WASM
extern const es_instructions es_wasm;
#endif
extern const es_instructions es_portable;

/* Kernels by name, for code that is written instead of called (describe.c); the last one is NULL. */
typedef struct {
  es_kernel run;
  const char *name;
} es_named_kernel;
#define ES_NAMED(kernel) {kernel, #kernel}
extern const es_named_kernel es_portable_kernels[], es_function_kernels[], es_reduction_kernels[],
    es_gather_kernels[], es_matmul_kernels[];
const char *es_portable_product(es_product_kernel kernel);
/* The name of a function that es_op.function is. */
const char *es_function_name(double (*function)(double, double));

/* The best one of this machine. */
const es_instructions *es_instructions_here(void);
#endif

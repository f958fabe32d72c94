/* SPDX-License-Identifier: Apache-2.0 */
/* Which instructions this machine has. */
#include "instruction_set.h"

#include "../include/edgestep.h"

#ifdef ES_HAVE_NEON_DOT
#ifdef __linux__
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
static bool has_dot(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
#elif defined(__APPLE__)
static bool has_dot(void) { return true; }
#else
static bool has_dot(void) { return false; }
#endif
#endif

#if defined(ES_HAVE_AVX2) || defined(ES_HAVE_AVX512)
#include <cpuid.h>

/* The compiler's own question answers no under some compilers, so the processor is asked. */
typedef struct {
  uint32_t leaf1_c, leaf7_b, leaf7_c, leaf7_1_a, saved;
} features;

static features ask(void) {
  features f = {0, 0, 0, 0, 0};
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  f.leaf1_c = c;
  if (c >> 27 & 1) { /* the system saves wide registers: which? */
    uint32_t high;
    __asm__("xgetbv" : "=a"(f.saved), "=d"(high) : "c"(0));
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    f.leaf7_b = b;
    f.leaf7_c = c;
  }
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) f.leaf7_1_a = a;
  return f;
}
static bool has(uint32_t found, uint32_t wanted) { return (found & wanted) == wanted; }
#define BIT(n) (UINT32_C(1) << (n))
#endif

const es_instructions *es_instructions_here(void) {
#if defined(ES_HAVE_AVX2) || defined(ES_HAVE_AVX512)
  const features f = ask();
  /* FMA, AVX, F16C; AVX2 */
  const bool avx2 = has(f.leaf1_c, BIT(12) | BIT(28) | BIT(29)) && has(f.leaf7_b, BIT(5)) &&
                    has(f.saved, 6);
  (void)avx2;
#ifdef ES_HAVE_AVX512
  /* F, DQ, BW, VL; VBMI, VNNI */
  if (avx2 && has(f.leaf7_b, BIT(16) | BIT(17) | BIT(30) | BIT(31)) &&
      has(f.leaf7_c, BIT(1) | BIT(11)) && has(f.saved, 0xE6))
    return &es_avx512;
#endif
#ifdef ES_HAVE_AVX_VNNI
  if (avx2 && has(f.leaf7_1_a, BIT(4))) return &es_avx_vnni;
#endif
#ifdef ES_HAVE_AVX2
  if (avx2) return &es_avx2;
#endif
#endif
#ifdef ES_HAVE_NEON_DOT
  if (has_dot()) return &es_neon_dot;
#endif
#if defined(ES_HAVE_NEON)
  return &es_neon;
#elif defined(ES_HAVE_WASM)
  return &es_wasm;
#else
  return &es_portable;
#endif
}

const char *es_instruction_set(void) { return es_instructions_here()->name; }

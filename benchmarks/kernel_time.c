/* SPDX-License-Identifier: Apache-2.0 */
/* What benchmarks/native_kernels.py and benchmarks/roofline.py time in C: steps of libedgestep, and
 * how long it takes to read some bytes. Built as one shared library with the sources of native/. */
#define _POSIX_C_SOURCE 199309L
#include "../native/include/edgestep.h"

#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* what others run meanwhile does not count */
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds of a step of stored bytes, over `frames` frames, `rounds` times. */
double time_step_bytes(es_stream *stream, const char *frames, size_t frame_bytes, size_t count,
                       char *outputs) {
  const double start = now();
  for (size_t i = 0; i < count; i++) es_step_bytes(stream, frames + i * frame_bytes, outputs);
  return (now() - start) / (double)count;
}

/* The same from real values to real values. */
double time_step(es_stream *stream, const float *frames, size_t frame_values, size_t count,
                 float *outputs) {
  const double start = now();
  for (size_t i = 0; i < count; i++) es_step(stream, frames + i * frame_values, outputs);
  return (now() - start) / (double)count;
}

typedef uint64_t vector __attribute__((vector_size(64), aligned(64)));

/* Nanoseconds to read `bytes`, a multiple of 512, in vectors as wide as the compiler has them. */
double time_read(const void *data, size_t bytes, size_t count) {
  const vector *v = data;
  vector sums[4] = {{0}};
  const double start = now();
  for (size_t i = 0; i < count; i++) {
    for (size_t at = 0; at < bytes / sizeof *v; at += 4)
      for (size_t lane = 0; lane < 4; lane++) sums[lane] ^= v[at + lane];
    __asm__ volatile("" : : "r"(sums) : "memory"); /* each pass counts */
  }
  return (now() - start) / (double)count;
}

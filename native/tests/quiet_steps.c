/* SPDX-License-Identifier: Apache-2.0 */
/* A step allocates nothing and makes no system call: quiet_steps STEPS FILE...
 *
 * Each model is stepped in a process of its own after Linux was told to kill that process at any
 * system call but reading, writing and ending. Allocations are counted: this program's malloc stands
 * before the C library's, for libedgestep, too. */
#define _GNU_SOURCE
#include "../examples/model_file.h"

#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUIET = 0, ALLOCATED = 3, NOT_LOCKED = 4 };

static volatile int watched, allocations;
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);
void *malloc(size_t bytes) { return allocations += watched, __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { return allocations += watched, __libc_calloc(count, bytes); }
void *realloc(void *block, size_t bytes) { return allocations += watched, __libc_realloc(block, bytes); }
void *aligned_alloc(size_t alignment, size_t bytes) {
  return allocations += watched, __libc_memalign(alignment, bytes);
}
void free(void *block) { allocations += watched, __libc_free(block); }

/* exit_group, which exit() calls, is not among the calls that are left. */
static void end(int status) {
  for (;;) syscall(SYS_exit, status);
}

static void run(const char *path, long steps, int noisy) {
  es_model *model = load_file(path);
  es_stream *stream = new_stream(model);
  float *x = calloc(es_input_values(model), sizeof *x), *y = calloc(es_output_values(model), sizeof *y);
  uint8_t *frame = calloc(es_input_bytes(model), 1), *given = calloc(es_output_bytes(model), 1);
  uint8_t *state = calloc(es_state_bytes(model) + 1, 1);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) end(NOT_LOCKED);
  watched = 1;
  for (long n = 0; n < steps; n++) {
    for (size_t i = 0; i < es_input_values(model); i++) x[i] = (float)((n + (long)i) % 2);
    es_step(stream, x, y);
    es_step_bytes(stream, frame, given);
    es_get_state(stream, state);
    es_set_state(stream, state);
    if (n % 100 == 99) es_reset(stream);
  }
  if (noisy == 1) free(malloc(1));
  if (noisy == 2) (void)syscall(SYS_getpid);
  end(allocations ? ALLOCATED : QUIET);
}

/* How the process of a model ended: QUIET, or what it did; -1 if it was killed. */
static int outcome(const char *path, long steps, int noisy) {
  const pid_t child = fork();
  int status = 0;
  if (child < 0) return NOT_LOCKED;
  if (!child) run(path, steps, noisy);
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int count, char **arguments) {
  const long steps = count > 2 ? atol(arguments[1]) : 0;
  if (steps < 1) return fprintf(stderr, "usage: quiet_steps STEPS FILE...\n"), 2;
  if (outcome(arguments[2], 1, 0) == NOT_LOCKED) return puts("system calls cannot be forbidden here"), 77;
  /* First, that the test sees what it looks for. */
  if (outcome(arguments[2], 1, 1) != ALLOCATED || outcome(arguments[2], 1, 2) != -1)
    return fprintf(stderr, "an allocation or a system call is not seen\n"), 2;
  for (int n = 2; n < count; n++) {
    const int found = outcome(arguments[n], steps, 0);
    if (found == QUIET) continue;
    fprintf(stderr, "%s: %s\n", arguments[n],
            found == ALLOCATED ? "a step allocates" : found < 0 ? "a step makes a system call" : "?");
    return 1;
  }
  printf("%d models, %ld steps of each: no allocation, no system call\n", count - 2, steps);
  return 0;
}

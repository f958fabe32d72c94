/* SPDX-License-Identifier: Apache-2.0 */
/* Step models for long in four threads, built with sanitizers: long_streams STEPS FILE...
 *
 * One thread steps first. Then four threads step at the same time, each its own stream of the one
 * loaded model: two from the beginning, two from where the first stopped half way. All must end
 * with the same bytes. One of them keeps its state by es_get_state and gives it to a new stream now
 * and then, in a block of its own that was filled with other bytes before. */
#include "../include/edgestep.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, FRAMES = 64, MOVES = 50 };

typedef struct {
  const es_model *model;
  const uint8_t *frames; /* FRAMES of them */
  const uint8_t *from;   /* a state to begin with, or NULL */
  long first, steps;
  int moves;
  uint8_t *state, *last; /* what it ends with */
} job;

/* Aligned to 64 bytes, of a size that a sanitizer sees exactly; not zero to begin with. */
static es_stream *opened(const es_model *model, void **block) {
  size_t bytes = es_stream_bytes(model);
  if (posix_memalign(block, 64, bytes)) exit(2);
  memset(*block, 0xA5, bytes);
  return es_open(model, *block);
}

static void *work(void *given) {
  job *one = given;
  size_t frame_bytes = es_input_bytes(one->model), state_bytes = es_state_bytes(one->model);
  void *block;
  es_stream *stream = opened(one->model, &block);
  uint8_t *state = malloc(state_bytes + 1), *out = malloc(es_output_bytes(one->model) + 1);
  memset(out, 0, es_output_bytes(one->model) + 1);
  if (one->from) es_set_state(stream, one->from);
  long pause = one->moves ? one->steps / MOVES + 1 : one->steps + 1;
  for (long n = 0; n < one->steps; n++) {
    es_step_bytes(stream, one->frames + frame_bytes * (size_t)((one->first + n) % FRAMES), out);
    if (n % pause != pause - 1) continue;
    es_get_state(stream, state);
    memset(block, 0x5A, es_stream_bytes(one->model));
    free(block);
    stream = opened(one->model, &block);
    es_set_state(stream, state);
  }
  es_get_state(stream, state);
  one->state = state, one->last = out;
  free(block);
  return NULL;
}

/* Float models get small numbers, integer models any bytes. */
static uint8_t *made_frames(const es_model *model) {
  size_t bytes = es_input_bytes(model), values = es_input_values(model);
  uint8_t *frames = malloc(FRAMES * bytes + 1);
  uint32_t seed = 1;
  for (int n = 0; n < FRAMES; n++)
    for (size_t i = 0; i < values; i++) {
      seed = seed * 1664525u + 1013904223u;
      if (bytes == values * sizeof(float)) {
        float value = (float)(seed >> 8) / (1 << 23) - 1;
        memcpy(frames + (size_t)n * bytes + i * sizeof value, &value, sizeof value);
      } else {
        frames[(size_t)n * bytes + i] = (uint8_t)(seed >> 24);
      }
    }
  return frames;
}

static int differs(const job *a, const job *b) {
  return memcmp(a->state, b->state, es_state_bytes(a->model)) ||
         memcmp(a->last, b->last, es_output_bytes(a->model));
}

static int one_file(const char *path, long steps) {
  FILE *file = fopen(path, "rb");
  if (!file) return fprintf(stderr, "%s: cannot be read\n", path), 1;
  fseek(file, 0, SEEK_END);
  size_t bytes = (size_t)ftell(file);
  rewind(file);
  uint8_t *whole = malloc(bytes);
  if (fread(whole, 1, bytes, file) != bytes) return 1;
  fclose(file);
  es_model *model;
  char why[ES_MESSAGE_BYTES];
  es_status status = es_load(whole, bytes, &model, why);
  free(whole); /* the model keeps nothing of it */
  if (status) return fprintf(stderr, "%s: %s\n", path, why), 1;

  uint8_t *frames = made_frames(model);
  long half = steps / 2;
  job alone = {model, frames, NULL, 0, half, 0, NULL, NULL}, rest = alone;
  work(&alone);
  rest.from = alone.state, rest.first = half, rest.steps = steps - half;
  work(&rest);

  job jobs[THREADS];
  pthread_t threads[THREADS];
  for (int n = 0; n < THREADS; n++) {
    jobs[n] = n < 2 ? (job){model, frames, NULL, 0, steps, n == 1, NULL, NULL}
                    : (job){model, frames, alone.state, half, steps - half, n == 3, NULL, NULL};
    if (pthread_create(&threads[n], NULL, work, &jobs[n])) return 2;
  }
  int wrong = 0;
  for (int n = 0; n < THREADS; n++) {
    pthread_join(threads[n], NULL);
    wrong |= differs(&jobs[n], &rest);
    free(jobs[n].state), free(jobs[n].last);
  }
  free(alone.state), free(alone.last), free(rest.state), free(rest.last), free(frames);
  es_free(model);
  if (wrong) fprintf(stderr, "%s: threads end with other bytes\n", path);
  return wrong;
}

int main(int count, char **arguments) {
  long steps = count > 1 ? atol(arguments[1]) : 0;
  int wrong = steps < 2;
  for (int n = 2; n < count; n++) wrong |= one_file(arguments[n], steps);
  if (!wrong) printf("%d models, %ld steps in one thread and in %d at once\n", count - 2, steps, THREADS);
  return wrong;
}

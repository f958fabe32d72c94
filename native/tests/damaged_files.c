/* SPDX-License-Identifier: Apache-2.0 */
/* Load and step damaged copies of step models, built with sanitizers: damaged_files CASES FILE... */
#include "../include/edgestep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t state = 1;
static uint32_t chance(uint32_t below) {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % below;
}

static int one_case(const uint8_t *whole, size_t bytes, int damage) {
  static const uint8_t values[] = {0, 1, 0x7F, 0x80, 0xFF};
  /* A block of its own size, so that a read behind it is seen. */
  size_t kept = damage && chance(10) == 0 ? chance((uint32_t)bytes) + 1 : bytes;
  uint8_t *copy = malloc(kept);
  memcpy(copy, whole, kept);
  for (uint32_t n = damage ? 1 + chance(6) : 0; n; n--)
    copy[chance((uint32_t)kept)] = chance(2) ? values[chance(5)] : (uint8_t)chance(256);
  es_model *model;
  char why[ES_MESSAGE_BYTES] = "";
  es_status status = es_load(copy, kept, &model, why);
  free(copy);
  if (status) return !*why || strchr(why, '\n') ? -1 : 0;
  es_stream *stream = es_open(model, aligned_alloc(64, es_stream_bytes(model)));
  float *x = calloc(es_input_values(model) + 1, sizeof *x);
  float *y = calloc(es_output_values(model) + 1, sizeof *y);
  uint8_t *frame = malloc(es_input_bytes(model)), *given = malloc(es_output_bytes(model));
  uint8_t *kept_state = malloc(es_state_bytes(model) + 1);
  for (int step = 0; step < 20; step++) {
    for (size_t i = 0; i < es_input_values(model); i++) x[i] = (float)chance(2000) / 100 - 10;
    for (size_t i = 0; i < es_input_bytes(model); i++) frame[i] = (uint8_t)chance(256);
    es_step(stream, x, y);
    es_step_bytes(stream, frame, given);
    es_get_state(stream, kept_state);
    es_set_state(stream, kept_state);
  }
  free(x), free(y), free(frame), free(given), free(kept_state), free(stream);
  es_free(model);
  return 1;
}

int main(int count, char **arguments) {
  int cases = count > 1 ? atoi(arguments[1]) : 0, loaded = 0;
  for (int i = 2; i < count; i++) {
    FILE *file = fopen(arguments[i], "rb");
    if (!file) return 2;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *whole = malloc(bytes);
    if (fread(whole, 1, bytes, file) != bytes) return 2;
    fclose(file);
    if (one_case(whole, bytes, 0) != 1) {
      fprintf(stderr, "%s: not loaded\n", arguments[i]);
      return 1;
    }
    for (int n = 0; n < cases; n++) {
      int result = one_case(whole, bytes, 1);
      if (result < 0) return 1;
      loaded += result;
    }
    free(whole);
  }
  printf("%d of %d damaged files were loaded and stepped, the others refused\n", loaded,
         cases * (count - 2));
  return 0;
}

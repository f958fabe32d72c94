/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer's way into the loader and the steps: 'make test-native-fuzz'.
 *
 * An input is a step model's file, or its parts: "PART", the flatbuffer's length as a uint32 of
 * little endian, the flatbuffer, and the contract as plain JSON. In a file the contract is
 * compressed, where hardly any change of a byte is read as another contract. */
#include "../include/edgestep.h"

#include <stdlib.h>
#include <string.h>

#define STEPS 6
/* A damaged shape may ask for a model of gigabytes, which is sound and only slow. */
#define LARGEST_STREAM ((size_t)1 << 21)

static void expect(int holds) {
  if (!holds) abort();
}

static void step(const es_model *model) {
  es_stream *stream = es_open(model, aligned_alloc(64, (es_stream_bytes(model) + 63) / 64 * 64));
  const size_t inputs = es_input_values(model), bytes = es_input_bytes(model);
  const size_t given = es_output_bytes(model), states = es_state_bytes(model);
  /* Blocks of exactly these sizes, so that a byte beyond is seen. */
  float *x = malloc(inputs * sizeof *x), *y = malloc(es_output_values(model) * sizeof *y);
  uint8_t *stored = malloc(bytes), *out = malloc(given), *state = malloc(states);
  uint32_t seed = 1;
  for (int n = 0; n < STEPS; n++) {
    for (size_t i = 0; i < inputs; i++) {
      seed = seed * 1664525u + 1013904223u;
      x[i] = n == 1 ? (float)(seed >> 28) : (float)(seed >> 8) / (1 << 20) - 8;
    }
    for (size_t i = 0; i < bytes; i++) stored[i] = (uint8_t)(seed = seed * 1664525u + 1013904223u);
    es_step(stream, x, y);
    const size_t wrote = es_step_bytes(stream, stored, out);
    expect(wrote == given || wrote == 0);
    es_get_state(stream, state);
    if (n == 2) es_reset(stream);
    if (n == 3) es_set_state(stream, state);
  }
  free(x), free(y), free(stored), free(out), free(state), free(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  es_model *model = NULL;
  char why[ES_MESSAGE_BYTES] = "";
  es_status status;
  uint32_t flatbuffer;
  if (bytes >= 8 && !memcmp(data, "PART", 4)) {
    memcpy(&flatbuffer, data + 4, 4);
    data += 8, bytes -= 8;
    if (flatbuffer > bytes) return 0;
    uint8_t *graph = malloc(flatbuffer); /* so that its end is its own */
    memcpy(graph, data, flatbuffer);
    status = es_load_parts(graph, flatbuffer, (const char *)data + flatbuffer, bytes - flatbuffer,
                           &model, why);
    free(graph);
  } else {
    status = es_load(data, bytes, &model, why);
  }
  if (status) {
    expect(!model && *why && !strchr(why, '\n') && strlen(why) < ES_MESSAGE_BYTES);
    return 0;
  }
  if (es_stream_bytes(model) <= LARGEST_STREAM) step(model);
  es_free(model);
  return 0;
}

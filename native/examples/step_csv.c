/* SPDX-License-Identifier: Apache-2.0 */
/* Step a model through lines of comma-separated values: sensor | step_csv MODEL.tflite
 *
 *     cc -O3 -ffp-contract=off -o step_csv native/examples/step_csv.c native/src/[a-z]*.c
 */
#include "../include/edgestep.h"

#include <stdio.h>
#include <stdlib.h>

static void *contents(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  *bytes = (size_t)ftell(file);
  rewind(file);
  void *data = malloc(*bytes);
  if (data && fread(data, 1, *bytes, file) != *bytes) data = NULL;
  fclose(file);
  return data;
}

int main(int count, char **arguments) {
  char why[ES_MESSAGE_BYTES] = "it cannot be read";
  size_t bytes;
  void *file = count == 2 ? contents(arguments[1], &bytes) : NULL;
  es_model *model;
  if (!file || es_load(file, bytes, &model, why)) {
    fprintf(stderr, "%s: %s\n", count == 2 ? arguments[1] : "usage: step_csv MODEL", why);
    return 1;
  }
  free(file);
  es_stream *stream = es_open(model, aligned_alloc(64, es_stream_bytes(model)));
  const size_t inputs = es_input_values(model), outputs = es_output_values(model);
  float *x = calloc(inputs, sizeof *x), *y = calloc(outputs, sizeof *y);
  for (;;) {
    for (size_t i = 0; i < inputs; i++)
      if (scanf(i ? " ,%f" : " %f", &x[i]) != 1) return 0;
    es_status status = es_step(stream, x, y);
    if (status == ES_BAD_INPUT) {
      fprintf(stderr, "a value is not finite\n");
      return 1;
    }
    if (status == ES_NO_ANSWER) continue;
    for (size_t i = 0; i < outputs; i++) printf(i ? ",%.6g" : "%.6g", (double)y[i]);
    putchar('\n');
    fflush(stdout);
  }
}

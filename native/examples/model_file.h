/* SPDX-License-Identifier: Apache-2.0 */
/* Load a model from a path, or say why not and end. */
#ifndef MODEL_FILE_H
#define MODEL_FILE_H

#include "../include/edgestep.h"

#include <stdio.h>
#include <stdlib.h>

static inline es_model *load_file(const char *path) {
  char why[ES_MESSAGE_BYTES] = "it cannot be read";
  es_model *model = NULL;
  FILE *file = fopen(path, "rb");
  long bytes = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
  void *data = bytes > 0 ? malloc((size_t)bytes) : NULL;
  if (data && !fseek(file, 0, SEEK_SET) && fread(data, 1, (size_t)bytes, file) == (size_t)bytes)
    es_load(data, (size_t)bytes, &model, why);
  if (file) fclose(file);
  free(data);
  if (!model) {
    fprintf(stderr, "%s: %s\n", path, why);
    exit(1);
  }
  return model;
}

static inline es_stream *new_stream(const es_model *model) {
  const size_t bytes = (es_stream_bytes(model) + 63) / 64 * 64;
  void *block = aligned_alloc(64, bytes);
  if (!block) {
    fprintf(stderr, "no memory for a stream of %zu bytes\n", bytes);
    exit(1);
  }
  return es_open(model, block);
}
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Step a model of raw sound through a WAV file: step_wav MODEL.tflite SOUND.wav
 *
 * A frame is as many samples as the model takes, from -1 to 1. It prints a line of outputs for each
 * step. Samples at the end that fill no frame are left out.
 *
 *     cc -O3 -ffp-contract=off -o step_wav native/examples/step_wav.c native/src/[a-z]*.c
 */
#include "model_file.h"
#include "wav.h"

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: step_wav MODEL.tflite SOUND.wav\n");
    return 2;
  }
  es_model *model = load_file(arguments[1]);
  wav sound;
  const char *wrong = wav_open(&sound, arguments[2]);
  if (wrong) {
    fprintf(stderr, "%s: %s\n", arguments[2], wrong);
    return 1;
  }
  es_stream *stream = new_stream(model);
  const size_t inputs = es_input_values(model), outputs = es_output_values(model);
  float *x = calloc(inputs, sizeof *x), *y = calloc(outputs, sizeof *y);
  if (!x || !y) return 1;
  while (wav_read(&sound, x, inputs) == inputs) {
    const es_status status = es_step(stream, x, y);
    if (status == ES_NO_ANSWER) continue;
    if (status) {
      fprintf(stderr, "a step failed with status %d\n", (int)status);
      return 1;
    }
    for (size_t i = 0; i < outputs; i++) printf(i ? ",%.6g" : "%.6g", (double)y[i]);
    putchar('\n');
  }
  fclose(sound.file);
  free(x), free(y), free(stream);
  es_free(model);
  return 0;
}

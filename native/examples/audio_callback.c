/* SPDX-License-Identifier: Apache-2.0 */
/* A model behind an audio callback, as PortAudio, JACK and miniaudio call one: on a thread of their
 * own, with any number of samples, and with no time to wait. audio_callback MODEL.tflite SOUND.wav
 *
 * listen_to() gathers samples to frames, steps, and passes the answers on in a ring of which one
 * thread writes the end and another one reads the beginning. It allocates nothing, locks nothing and
 * makes no system call. Where the reader is too slow, answers are lost and counted; sound never is.
 *
 * Instead of a sound card, main() feeds it a WAV file in blocks of changing sizes.
 *
 *     cc -O3 -ffp-contract=off -o audio_callback native/examples/audio_callback.c native/src/[a-z]*.c
 */
#include "model_file.h"
#include "wav.h"

#include <stdatomic.h>

#define ANSWERS 64 /* a power of two */

typedef struct {
  es_stream *stream;
  size_t inputs, outputs, gathered;
  float *frame, *answers; /* [inputs], [ANSWERS][outputs] */
  atomic_size_t written, taken, lost;
} listener;

/* The callback. A library that gives a buffer of its own kind calls it in one line, such as
 *
 *     static int port_audio(const void *in, void *out, unsigned long count, ..., void *user) {
 *       listen_to(user, in, count);
 *       return paContinue;
 *     }
 */
static void listen_to(listener *l, const float *samples, size_t count) {
  for (size_t i = 0; i < count; i++) {
    l->frame[l->gathered++] = samples[i];
    if (l->gathered < l->inputs) continue;
    l->gathered = 0;
    const size_t written = atomic_load_explicit(&l->written, memory_order_relaxed);
    const size_t waiting = written - atomic_load_explicit(&l->taken, memory_order_acquire);
    float *answer = l->answers + written % ANSWERS * l->outputs;
    /* Where there is no room the step is still made: the state must go on. The place behind the ring
     * takes its answer. */
    if (waiting == ANSWERS) answer = l->answers + ANSWERS * l->outputs;
    const es_status status = es_step(l->stream, l->frame, answer);
    if (status == ES_NOT_FINITE) es_reset(l->stream);
    if (status) continue;
    if (waiting == ANSWERS) atomic_fetch_add_explicit(&l->lost, 1, memory_order_relaxed);
    else atomic_store_explicit(&l->written, written + 1, memory_order_release);
  }
}

/* The other side: the next answer, or NULL; give_back() when it is read. */
static const float *next_answer(listener *l) {
  const size_t taken = atomic_load_explicit(&l->taken, memory_order_relaxed);
  if (taken == atomic_load_explicit(&l->written, memory_order_acquire)) return NULL;
  return l->answers + taken % ANSWERS * l->outputs;
}
static void give_back(listener *l) {
  atomic_fetch_add_explicit(&l->taken, 1, memory_order_release);
}

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: audio_callback MODEL.tflite SOUND.wav\n");
    return 2;
  }
  es_model *model = load_file(arguments[1]);
  wav sound;
  const char *wrong = wav_open(&sound, arguments[2]);
  if (wrong) {
    fprintf(stderr, "%s: %s\n", arguments[2], wrong);
    return 1;
  }
  /* All memory, before the sound begins. */
  listener l = {.stream = new_stream(model), .inputs = es_input_values(model),
                .outputs = es_output_values(model)};
  l.frame = calloc(l.inputs, sizeof *l.frame);
  l.answers = calloc((ANSWERS + 1) * l.outputs, sizeof *l.answers);
  if (!l.frame || !l.answers) return 1;
  static const size_t blocks[] = {64, 1, 100, 256, 7};
  float samples[256];
  size_t read;
  for (size_t n = 0; (read = wav_read(&sound, samples, blocks[n % 5])); n++) {
    listen_to(&l, samples, read);
    for (const float *answer; (answer = next_answer(&l)); give_back(&l)) {
      for (size_t i = 0; i < l.outputs; i++) printf(i ? ",%.6g" : "%.6g", (double)answer[i]);
      putchar('\n');
    }
  }
  if (l.lost) fprintf(stderr, "%zu answers were lost\n", (size_t)l.lost);
  fclose(sound.file);
  free(l.frame), free(l.answers), free(l.stream);
  es_free(model);
  return 0;
}

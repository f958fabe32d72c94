/* SPDX-License-Identifier: Apache-2.0 */
/* libedgestep: steps the .tflite step models of edgestep, without another runtime.
 *
 * A model is loaded once and never changes afterwards. Any number of streams step it, each in a
 * block of memory that its caller owns. Stepping allocates nothing, locks nothing and makes no
 * system call. Threads may share a model; a stream belongs to one thread at a time.
 *
 *     es_model *model;
 *     char why[ES_MESSAGE_BYTES];
 *     if (es_load(file, file_bytes, &model, why)) { puts(why); exit(1); }
 *     es_stream *stream = es_open(model, malloc(es_stream_bytes(model)));
 *     float x[40], y[12];
 *     while (read_frame(x)) es_step(stream, x, y);
 *
 * What each operator computes, to the bit, is written in docs/native.md.
 */
#ifndef EDGESTEP_H
#define EDGESTEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ES_API __attribute__((visibility("default")))
#else
#define ES_API
#endif

typedef struct es_model es_model;
typedef struct es_stream es_stream;

/* Size of the block that an error's text goes into, its end included. */
#define ES_MESSAGE_BYTES 256

typedef enum {
  ES_OK = 0,
  ES_BAD_MODEL = 1,   /* damaged, or not a step model */
  ES_UNSUPPORTED = 2, /* a sound model with something that is not known here */
  ES_NO_MEMORY = 3,
  ES_BAD_INPUT = 4,   /* a value is NaN or infinite, or a token is outside the vocabulary */
  ES_NO_ANSWER = 5,   /* a model with a window gives nothing at this frame */
  ES_NOT_FINITE = 6,  /* an output is NaN or infinite; the state will not recover: es_reset */
} es_status;

/* Load a step model from the bytes of its file, which may be freed afterwards.
 *
 * The bytes are checked as those of a stranger. `why` receives a line if it fails; it may be NULL.
 */
ES_API es_status es_load(const void *file, size_t bytes, es_model **model, char why[ES_MESSAGE_BYTES]);

/* The same for a flatbuffer whose contract is kept apart, as JSON; NULL: behind the flatbuffer. */
ES_API es_status es_load_parts(const void *flatbuffer, size_t bytes, const char *contract,
                               size_t contract_bytes, es_model **model,
                               char why[ES_MESSAGE_BYTES]);

/* Free a model. Its streams must not be used any more; their memory is the caller's to free. */
ES_API void es_free(es_model *model);

/* Memory in bytes that a loaded model has taken, all streams' blocks apart. It does not grow. */
ES_API size_t es_model_bytes(const es_model *model);

/* Size in bytes of a stream's block. */
ES_API size_t es_stream_bytes(const es_model *model);

/* Make a stream of a block of es_stream_bytes, aligned to 64 bytes; it is reset. */
ES_API es_stream *es_open(const es_model *model, void *block);

/* Begin a new sequence: write the initial states. */
ES_API void es_reset(es_stream *stream);

/* Number of values, and of bytes as stored, that a step takes (all inputs, one after another in the
 * contract's order) and gives (all outputs). */
ES_API size_t es_input_values(const es_model *model);
ES_API size_t es_output_values(const es_model *model);
ES_API size_t es_input_bytes(const es_model *model);
ES_API size_t es_output_bytes(const es_model *model);

/* Compute one time step of real values. A token id is given as its number.
 *
 * With ES_BAD_INPUT nothing was computed and the state is as before. With ES_NO_ANSWER the frame
 * was taken, and `outputs` is as before.
 */
ES_API es_status es_step(es_stream *stream, const float *inputs, float *outputs);

/* Compute one time step of bytes as stored. A token outside of the vocabulary is taken as 0.
 *
 * Returns how many bytes it gave: es_output_bytes, or 0 at a frame without an answer.
 */
ES_API size_t es_step_bytes(es_stream *stream, const void *inputs, void *outputs);

/* The state that the next step starts from, as bytes: its size, a copy, and setting it. */
ES_API size_t es_state_bytes(const es_model *model);
ES_API void es_get_state(const es_stream *stream, void *state);
ES_API void es_set_state(es_stream *stream, const void *state);

/* The instruction set that this machine's kernels use: "portable", "avx2". */
ES_API const char *es_instruction_set(void);

#ifdef __cplusplus
}
#endif
#endif

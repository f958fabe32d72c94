/* $description
 *
 * One step of the model $model (SHA-256 $sha256).
 * Written by 'edgestep export-c'; plain C99, no memory is allocated.
 */
#ifndef ${PREFIX}_STEP_H
#define ${PREFIX}_STEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that the interpreter needs: measured on a 64-bit computer with tflite-micro $micro_version.
 * A 32-bit microcontroller needs less, as its pointers are half as long. */
#define ${PREFIX}_ARENA_BYTES $arena_bytes
/* Time between two frames, which is the time that a step may take, in microseconds. */
#define ${PREFIX}_FRAME_PERIOD_US ${frame_period_us}
/* The model's file, in ${prefix}_model.c. */
extern const unsigned char ${prefix}_model[];
extern const size_t ${prefix}_model_bytes;

$sizes
/* The names of the values of y. */
extern const char *const ${prefix}_labels[$label_count];

/* Tensors of the interpreter by their number in the model's graph, which is how
 * TensorFlow Lite Micro counts them. */
enum {
$tensor_numbers
};

/* The state of one stream, as stored in the model: it is handed from step to step as it is. */
typedef struct {
$state_fields
} ${prefix}_state;

/* What the step needs of an interpreter. */
typedef struct {
  void *inputs[${PREFIX}_INPUT_TENSORS];         /* where it reads, by tensor number */
  const void *outputs[${PREFIX}_OUTPUT_TENSORS]; /* where it writes, by tensor number */
  int (*invoke)(void *context);                  /* computes; 0 means that it went well */
  void *context;                                 /* handed to invoke */
} ${prefix}_runtime;

/* A new sequence begins: the initial state. */
void ${prefix}_reset(${prefix}_state *state);

/* One step in real units. Returns what invoke returns; where that is not 0, the state is as before
 * and the outputs are not written. */
int ${prefix}_step(const ${prefix}_runtime *runtime, ${prefix}_state *state, $parameters);

#ifdef __cplusplus
}
#endif

#endif

/* lstm 8-4, int8:per-channel, task walk * / run
 *
 * One step of the model net.tflite (SHA-256 5555555555555555555555555555555555555555555555555555555555555555).
 * Written by 'edgestep export-c'; plain C99, no memory is allocated.
 */
#ifndef NET_STEP_H
#define NET_STEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that the interpreter needs: measured on a 64-bit computer with tflite-micro 0.dev1.
 * A 32-bit microcontroller needs less, as its pointers are half as long. */
#define NET_ARENA_BYTES 4096
/* Time between two frames, which is the time that a step may take, in microseconds. */
#define NET_FRAME_PERIOD_US 20000
/* The model's file, in net_model.c. */
extern const unsigned char net_model[];
extern const size_t net_model_bytes;

#define NET_X_SIZE 12
#define NET_SERVING_POSITION_SIZE 1
#define NET_Y_SIZE 3
#define NET__1ST_SIZE 1
#define NET_H_SIZE 8
#define NET_C_SIZE 2
#define NET_N_SIZE 1
/* The names of the values of y. */
extern const char *const net_labels[3];

/* Tensors of the interpreter by their number in the model's graph, which is how
 * TensorFlow Lite Micro counts them. */
enum {
  NET_X_IN = 4,
  NET_SERVING_POSITION_IN = 3,
  NET_H_IN = 2,
  NET_C_IN = 1,
  NET_N_IN = 0,
  NET_Y_OUT = 4,
  NET__1ST_OUT = 3,
  NET_H_OUT = 2,
  NET_C_OUT = 1,
  NET_N_OUT = 0,
  NET_INPUT_TENSORS = 5,
  NET_OUTPUT_TENSORS = 5
};

/* The state of one stream, as stored in the model: it is handed from step to step as it is. */
typedef struct {
  int8_t h[NET_H_SIZE];
  int8_t c[NET_C_SIZE];
  int64_t n[NET_N_SIZE];
} net_state;

/* What the step needs of an interpreter. */
typedef struct {
  void *inputs[NET_INPUT_TENSORS];         /* where it reads, by tensor number */
  const void *outputs[NET_OUTPUT_TENSORS]; /* where it writes, by tensor number */
  int (*invoke)(void *context);                  /* computes; 0 means that it went well */
  void *context;                                 /* handed to invoke */
} net_runtime;

/* A new sequence begins: the initial state. */
void net_reset(net_state *state);

/* One step in real units. Returns what invoke returns; where that is not 0, the state is as before
 * and the outputs are not written. */
int net_step(const net_runtime *runtime, net_state *state, const float *x, const int32_t *serving_position, float *y, int32_t *_1st);

#ifdef __cplusplus
}
#endif

#endif

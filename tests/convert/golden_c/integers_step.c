/* The step of net_step.h. Written by 'edgestep export-c'. */
#include "net_step.h"

#include <math.h>
#include <string.h>

const char *const net_labels[3] = {
  "sit",
  "say \042hm\077\042",
  "gr\303\266\303\237er"
};

static const int8_t initial_c[NET_C_SIZE] = {-5, 100};

static void write_x(const float *from, void *to) {
  int8_t *stored = (int8_t *)to;
  for (int i = 0; i < NET_X_SIZE; ++i) {
    float value = rintf(from[i] / 0.0234999992f) + -7.0f;
    if (!(value > -128.0f)) value = -128.0f; /* NaN too */
    if (value > 127.0f) value = 127.0f;
    stored[i] = (int8_t)value;
  }
}

static void write_serving_position(const int32_t *from, void *to) {
  memcpy(to, from, NET_SERVING_POSITION_SIZE * sizeof(int32_t));
}

static void read_y(const void *from, float *to) {
  const int16_t *stored = (const int16_t *)from;
  for (int i = 0; i < NET_Y_SIZE; ++i) {
    to[i] = ((float)stored[i] - 0.0f) * 0.333333343f;
  }
}

static void read__1st(const void *from, int32_t *to) {
  memcpy(to, from, NET__1ST_SIZE * sizeof(int32_t));
}


void net_reset(net_state *state) {
  for (int i = 0; i < NET_H_SIZE; ++i) state->h[i] = 0;
  memcpy(state->c, initial_c, sizeof(state->c));
  for (int i = 0; i < NET_N_SIZE; ++i) state->n[i] = 0;
}

int net_step(const net_runtime *runtime, net_state *state, const float *x, const int32_t *serving_position, float *y, int32_t *_1st) {
  int failure;
  write_x(x, runtime->inputs[NET_X_IN]);
  write_serving_position(serving_position, runtime->inputs[NET_SERVING_POSITION_IN]);
  memcpy(runtime->inputs[NET_H_IN], state->h, sizeof(state->h));
  memcpy(runtime->inputs[NET_C_IN], state->c, sizeof(state->c));
  memcpy(runtime->inputs[NET_N_IN], state->n, sizeof(state->n));
  failure = runtime->invoke(runtime->context);
  if (failure) return failure;
  /* The interpreter may keep inputs and outputs in the same memory: everything is read here, before
   * the next step writes. */
  read_y(runtime->outputs[NET_Y_OUT], y);
  read__1st(runtime->outputs[NET__1ST_OUT], _1st);
  memcpy(state->h, runtime->outputs[NET_H_OUT], sizeof(state->h));
  memcpy(state->c, runtime->outputs[NET_C_OUT], sizeof(state->c));
  memcpy(state->n, runtime->outputs[NET_N_OUT], sizeof(state->n));
  return 0;
}

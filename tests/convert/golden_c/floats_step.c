/* The step of net_step.h. Written by 'edgestep export-c'. */
#include "net_step.h"

#include <math.h>
#include <string.h>

const char *const net_labels[1] = {
  "level"
};

static const float initial_h[NET_H_SIZE] = {0.100000001f, -9.99999972e-10f};

static void write_x(const float *from, void *to) {
  memcpy(to, from, NET_X_SIZE * sizeof(float));
}

static void read_y(const void *from, float *to) {
  memcpy(to, from, NET_Y_SIZE * sizeof(float));
}


void net_reset(net_state *state) {
  memcpy(state->h, initial_h, sizeof(state->h));
  for (int i = 0; i < NET_G_SIZE; ++i) state->g[i] = 0.0f;
}

int net_step(const net_runtime *runtime, net_state *state, const float *x, float *y) {
  int failure;
  write_x(x, runtime->inputs[NET_X_IN]);
  memcpy(runtime->inputs[NET_H_IN], state->h, sizeof(state->h));
  memcpy(runtime->inputs[NET_G_IN], state->g, sizeof(state->g));
  failure = runtime->invoke(runtime->context);
  if (failure) return failure;
  /* The interpreter may keep inputs and outputs in the same memory: everything is read here, before
   * the next step writes. */
  read_y(runtime->outputs[NET_Y_OUT], y);
  memcpy(state->h, runtime->outputs[NET_H_OUT], sizeof(state->h));
  memcpy(state->g, runtime->outputs[NET_G_OUT], sizeof(state->g));
  return 0;
}

/* The step of net_step.h. Written by 'edgestep export-c'. */
#include "net_step.h"

#include <math.h>
#include <string.h>

const char *const net_labels[1] = {
  ""
};


static void write_x(const float *from, void *to) {
  memcpy(to, from, NET_X_SIZE * sizeof(float));
}

static void read_y(const void *from, float *to) {
  memcpy(to, from, NET_Y_SIZE * sizeof(float));
}


void net_reset(net_state *state) {
  (void)state;
}

int net_step(const net_runtime *runtime, net_state *state, const float *x, float *y) {
  int failure;
  write_x(x, runtime->inputs[NET_X_IN]);
  failure = runtime->invoke(runtime->context);
  if (failure) return failure;
  /* The interpreter may keep inputs and outputs in the same memory: everything is read here, before
   * the next step writes. */
  read_y(runtime->outputs[NET_Y_OUT], y);
  return 0;
}

// Example: the step of net_step.h on TensorFlow Lite Micro. Written by 'edgestep export-c'.
//
// Put read_frame and use_outputs of your own in place, and build it with TensorFlow Lite Micro,
// net_step.c and net_model.c. (edgestep compiles and runs the C files in its tests; this
// one it can only compile against declarations of its own, as no package brings the headers.)
#include "net_step.h"

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

// Yours: waits for the next frame; and does something with what came out.
bool read_frame(float *x);
void use_outputs(const float *y);

namespace {

alignas(16) uint8_t arena[NET_ARENA_BYTES];

int invoke(void *context) {
  return static_cast<tflite::MicroInterpreter *>(context)->Invoke() == kTfLiteOk ? 0 : 1;
}

}  // namespace

int net_run() {
  static tflite::MicroMutableOpResolver<1> resolver;
  if (resolver.AddTanh() != kTfLiteOk) return 1;
  static tflite::MicroInterpreter interpreter(tflite::GetModel(net_model), resolver, arena,
                                              sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;

  net_runtime runtime;
  for (int i = 0; i < NET_INPUT_TENSORS; ++i) runtime.inputs[i] = interpreter.input(i)->data.data;
  for (int i = 0; i < NET_OUTPUT_TENSORS; ++i) {
    runtime.outputs[i] = interpreter.output(i)->data.data;
  }
  runtime.invoke = invoke;
  runtime.context = &interpreter;

  static net_state state;
  net_reset(&state);  // again wherever a new sequence begins
  static float x[NET_X_SIZE];
  static float y[NET_Y_SIZE];
  while (read_frame(x)) {
    if (net_step(&runtime, &state, x, y) != 0) return 2;
    use_outputs(y);
  }
  return 0;
}

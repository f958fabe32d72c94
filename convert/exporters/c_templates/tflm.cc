// Example: the step of ${prefix}_step.h on TensorFlow Lite Micro. Written by 'edgestep export-c'.
//
// Put read_frame and use_outputs of your own in place, and build it with TensorFlow Lite Micro,
// ${prefix}_step.c and ${prefix}_model.c. (edgestep compiles and runs the C files in its tests; this
// one it can only compile against declarations of its own, as no package brings the headers.)
#include "${prefix}_step.h"

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

// Yours: waits for the next frame; and does something with what came out.
bool read_frame($reader_parameters);
void use_outputs($user_parameters);

namespace {

alignas(16) uint8_t arena[${PREFIX}_ARENA_BYTES];

int invoke(void *context) {
  return static_cast<tflite::MicroInterpreter *>(context)->Invoke() == kTfLiteOk ? 0 : 1;
}

}  // namespace

int ${prefix}_run() {
  static tflite::MicroMutableOpResolver<$operator_count> resolver;
$operators
  static tflite::MicroInterpreter interpreter(tflite::GetModel(${prefix}_model), resolver, arena,
                                              sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;

  ${prefix}_runtime runtime;
  for (int i = 0; i < ${PREFIX}_INPUT_TENSORS; ++i) runtime.inputs[i] = interpreter.input(i)->data.data;
  for (int i = 0; i < ${PREFIX}_OUTPUT_TENSORS; ++i) {
    runtime.outputs[i] = interpreter.output(i)->data.data;
  }
  runtime.invoke = invoke;
  runtime.context = &interpreter;

  static ${prefix}_state state;
  ${prefix}_reset(&state);  // again wherever a new sequence begins
$buffers
  while (read_frame($reader_arguments)) {
    if (${prefix}_step(&runtime, &state, $step_arguments) != 0) return 2;
    use_outputs($user_arguments);
  }
  return 0;
}

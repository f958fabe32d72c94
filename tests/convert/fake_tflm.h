// A fake of what the exported example names of TensorFlow Lite Micro, for a unit test alone: enough to
// compile the example and see that it is well formed. It computes nothing.
#ifndef FAKE_TFLM_H
#define FAKE_TFLM_H
#include <cstddef>
#include <cstdint>
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
union TfLitePtrUnion { void *data; };
struct TfLiteTensor { TfLitePtrUnion data; };
namespace tflite {
struct Model {};
inline const Model *GetModel(const void *) { return nullptr; }
struct MicroOpResolver {};
template <unsigned int count>
struct MicroMutableOpResolver : MicroOpResolver {
  TfLiteStatus AddAdd() { return kTfLiteOk; }
  TfLiteStatus AddFullyConnected() { return kTfLiteOk; }
  TfLiteStatus AddLogistic() { return kTfLiteOk; }
  TfLiteStatus AddMul() { return kTfLiteOk; }
  TfLiteStatus AddSplit() { return kTfLiteOk; }
  TfLiteStatus AddSub() { return kTfLiteOk; }
  TfLiteStatus AddTanh() { return kTfLiteOk; }
};
struct MicroInterpreter {
  MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *, size_t) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteStatus Invoke() { return kTfLiteOk; }
  TfLiteTensor *input(size_t) { return nullptr; }
  TfLiteTensor *output(size_t) { return nullptr; }
};
}  // namespace tflite
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a C++ programmer would write for one network: sizes known at compile time, loops that the
 * compiler unrolls and turns into vectors, -O3 -march=native -ffast-math. benchmarks/template_step.py
 * compiles it for each network, with UNITS, INPUTS, OUTPUTS and GATES (4: LSTM, 3: GRU). */
#include <cmath>
#include <cstddef>
#include <cstring>
#include <ctime>

namespace {

template <int Inputs, int Columns>
void product(const float *x, const float *weights, const float *start, float *out) {
  /* Sums of a block of columns stay in registers while the inputs pass by. */
  constexpr int block = Columns % 64 == 0 ? 64 : Columns % 48 == 0 ? 48 : Columns;
  for (int at = 0; at < Columns; at += block) {
    float sums[block];
    std::memcpy(sums, start + at, sizeof sums);
    for (int i = 0; i < Inputs; i++)
      for (int j = 0; j < block; j++) sums[j] += x[i] * weights[i * Columns + at + j];
    std::memcpy(out + at, sums, sizeof sums);
  }
}

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
inline float hyperbolic(float x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

template <int Inputs, int Units, int Outputs, int Gates>
struct Network {
  static constexpr int columns = Gates * Units;
  float scale[Inputs], shift[Inputs];
  alignas(64) float kernel[Inputs * columns], bias[columns];
  alignas(64) float recurrent[Units * columns], recurrent_bias[columns];
  float head[Units * Outputs], head_bias[Outputs];
  alignas(64) float h[Units], c[Units];

  void step(const float *given, float *y) {
    float x[Inputs];
    alignas(64) float gx[columns], gh[columns];
    for (int i = 0; i < Inputs; i++) x[i] = given[i] * scale[i] + shift[i];
    product<Inputs, columns>(x, kernel, bias, gx);
    if constexpr (Gates == 4) { /* both products in one sum */
      product<Units, columns>(h, recurrent, gx, gh);
      for (int u = 0; u < Units; u++) {
        c[u] = sigmoid(gh[Units + u]) * c[u] + sigmoid(gh[u]) * hyperbolic(gh[2 * Units + u]);
        h[u] = sigmoid(gh[3 * Units + u]) * hyperbolic(c[u]);
      }
    } else {
      product<Units, columns>(h, recurrent, recurrent_bias, gh);
      for (int u = 0; u < Units; u++) {
        const float z = sigmoid(gx[u] + gh[u]), r = sigmoid(gx[Units + u] + gh[Units + u]);
        const float candidate = hyperbolic(gx[2 * Units + u] + r * gh[2 * Units + u]);
        h[u] = candidate + z * (h[u] - candidate);
      }
    }
    std::memcpy(y, head_bias, sizeof head_bias);
    for (int u = 0; u < Units; u++)
      for (int o = 0; o < Outputs; o++) y[o] += h[u] * head[u * Outputs + o];
  }
};

Network<INPUTS, UNITS, OUTPUTS, GATES> network;

double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

}  // namespace

namespace {

float *member_of(int number) {
  float *const members[] = {network.scale,     network.shift,          network.kernel,
                            network.bias,      network.recurrent,      network.recurrent_bias,
                            network.head,      network.head_bias};
  return members[number];
}

}  // namespace

/* Members are numbered as they are declared. */
extern "C" void template_load(int member, const float *values, size_t count) {
  std::memcpy(member_of(member), values, count * sizeof(float));
}

extern "C" void template_reset() {
  std::memset(network.h, 0, sizeof network.h);
  std::memset(network.c, 0, sizeof network.c);
}

/* Steps all frames; outputs [count, OUTPUTS]. Returns nanoseconds of a step. */
extern "C" double template_time(const float *frames, size_t count, float *outputs) {
  const double start = now();
  for (size_t i = 0; i < count; i++) network.step(frames + i * INPUTS, outputs + i * OUTPUTS);
  return (now() - start) / static_cast<double>(count);
}

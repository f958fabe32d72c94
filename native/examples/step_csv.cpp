// SPDX-License-Identifier: Apache-2.0
// step_csv.c in C++: sensor | step_csv MODEL.tflite
//
//     c++ -std=c++17 -O2 -o step_csv native/examples/step_csv.cpp libedgestep.so
#include "../include/edgestep.hpp"

#include <cstdio>
#include <iostream>

int main(int count, char **arguments) try {
  if (count != 2) throw edgestep::Error(ES_BAD_INPUT, "usage: step_csv MODEL");
  const edgestep::Model model = edgestep::Model::read(arguments[1]);
  edgestep::Stream stream(model);
  std::vector<float> x(model.inputs()), y(model.outputs());
  for (;;) {
    for (std::size_t i = 0; i < x.size(); i++) {
      if (i) std::cin.ignore(1, ',');
      if (!(std::cin >> x[i])) return 0;
    }
    if (!stream.step(x.data(), y.data())) continue;
    for (std::size_t i = 0; i < y.size(); i++) std::printf(i ? ",%.6g" : "%.6g", double(y[i]));
    std::putchar('\n');
  }
} catch (const edgestep::Error &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

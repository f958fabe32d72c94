// SPDX-License-Identifier: Apache-2.0
// edgestep.h for C++17: models and streams that free themselves, errors as exceptions.
//
//     const edgestep::Model model = edgestep::Model::read("gru-64-s1-int8.tflite");
//     edgestep::Stream stream(model);
//     std::vector<float> y(model.outputs());
//     while (read_frame(x)) if (stream.step(x.data(), y.data())) use(y);
//
// Loading and opening allocate memory and may throw; a step allocates nothing.
#ifndef EDGESTEP_HPP
#define EDGESTEP_HPP

#include "edgestep.h"

#include <cstddef>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace edgestep {

// A model that cannot be loaded, or a step that cannot be computed; what() says why in a line.
class Error : public std::runtime_error {
 public:
  Error(es_status status, const std::string &why) : std::runtime_error(why), status(status) {}
  const es_status status;
};

// A loaded model. Copies share it; threads may share it, too.
class Model {
 public:
  // Load from the bytes of a file, which may be freed afterwards. Throws Error.
  Model(const void *file, std::size_t bytes) {
    es_model *loaded = nullptr;
    char why[ES_MESSAGE_BYTES] = "";
    if (const es_status status = es_load(file, bytes, &loaded, why)) throw Error(status, why);
    model_ = std::shared_ptr<es_model>(loaded, es_free);
  }

  // Read a file and load it. Throws Error.
  static Model read(const std::string &path) {
    std::ifstream stream(path, std::ios::binary);
    const std::vector<char> data((std::istreambuf_iterator<char>(stream)),
                                 std::istreambuf_iterator<char>());
    if (!stream) throw Error(ES_BAD_MODEL, path + ": it cannot be read");
    return Model(data.data(), data.size());
  }

  // Values that a step takes and gives.
  std::size_t inputs() const { return es_input_values(get()); }
  std::size_t outputs() const { return es_output_values(get()); }
  const es_model *get() const { return model_.get(); }

 private:
  std::shared_ptr<es_model> model_;
};

// A stream, which keeps its model. It belongs to one thread at a time.
class Stream {
 public:
  explicit Stream(const Model &model)
      : model_(model), block_(::operator new(es_stream_bytes(model.get()), alignment)),
        stream_(es_open(model.get(), block_.get())) {}

  // Step real values; false: a model with a window gives nothing at this frame. Throws Error for a
  // value that is not finite, on either side.
  bool step(const float *inputs, float *outputs) {
    const es_status status = es_step(stream_, inputs, outputs);
    if (status == ES_OK) return true;
    if (status == ES_NO_ANSWER) return false;
    throw Error(status, status == ES_BAD_INPUT ? "an input is not finite, or no token id"
                                               : "an output is not finite; reset the stream");
  }

  void reset() { es_reset(stream_); }

  // The state as bytes, and going on from it.
  std::vector<unsigned char> state() const {
    std::vector<unsigned char> bytes(es_state_bytes(model_.get()));
    es_get_state(stream_, bytes.data());
    return bytes;
  }
  void set_state(const std::vector<unsigned char> &state) {
    if (state.size() != es_state_bytes(model_.get()))
      throw Error(ES_BAD_INPUT, "the state is another model's");
    es_set_state(stream_, state.data());
  }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Free {
    void operator()(void *block) const { ::operator delete(block, alignment); }
  };
  Model model_;
  std::unique_ptr<void, Free> block_;
  es_stream *stream_;
};

}  // namespace edgestep
#endif

#pragma once

#include <cstdint>

#include "attune/tensors/tensor.h"

namespace attune {

/// DPSPG's generator of prompts (Zhang et al. 2025, the authors' release): L transformer layers, normalised behind each
/// sum, on a sequence of one token, the normalised image feature f, and a linear layer to M * width entries,
///   x := norm(x + out(value(x))),  x := norm(x + w2 relu(w1 x)),  prompt = w x.
/// A token that can only attend to itself does so with the weight 1, so queries and keys are left out.
class PromptEncoder {
 public:
  static constexpr int kLayers = 4;
  static constexpr std::int64_t kHeads = 8;  // what dropout takes out of the attention's answer at once

  /// The layers start equal, as copies of one in the release. Throws UsageError unless the heads divide the width.
  PromptEncoder(std::int64_t feature_width, std::int64_t hidden, std::int64_t prompt_length, std::int64_t prompt_width,
                KeyedRandom& random, at::Device device);

  /// features [B, d] of unit length -> prompts [B, M, width]. `random` draws the dropout of training; null: none.
  Tensor operator()(const Tensor& features, double dropout = 0, KeyedRandom* random = nullptr) const;

  /// "<layer>.value.weight" and so on; "prompt.weight".
  const TensorMap& parameters() const { return parameters_; }

 private:
  std::int64_t prompt_length_, prompt_width_;
  TensorMap parameters_;
};

}  // namespace attune

#pragma once

#include "attune/tensors/tensor.h"

namespace attune {

/// kQuickGelu is x * sigmoid(1.702 x).
enum class Activation { kGelu, kQuickGelu };
inline constexpr double kQuickGeluFactor = 1.702;

Tensor activate(const Tensor& input, Activation activation);

/// Normalises the last dimension. Trains or not, as its tensors say: with frozen ones only the input's gradient is
/// computed.
struct LayerNorm {
  Tensor weight;  // [width]
  Tensor bias;    // [width]
  double epsilon = 1e-5;

  Tensor operator()(const Tensor& input) const;
};

/// Scaled dot-product attention: q [N, H, Tq, D], k and v [N, H, Tk, D] -> [N, Tq, H * D].
/// `mask` is added to the scores ([Tq, Tk], undefined for none); `causal` stands for a square causal mask.
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask = {}, bool causal = false);

}  // namespace attune

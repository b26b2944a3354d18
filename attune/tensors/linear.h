#pragma once

#include <memory>

#include "attune/tensors/layers.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// y = x W^T + b for x [..., in]; trains where its tensors require gradients.
struct Linear {
  Tensor weight;  // [out, in]
  Tensor bias;    // [out] or undefined

  Tensor operator()(const Tensor& input) const;
  Tensor activated(const Tensor& input, Activation activation) const { return activate((*this)(input), activation); }
  Tensor added(const Tensor& input, const Tensor& residual) const { return residual + (*this)(input); }
};

struct FrozenWeights;

/// The same with weights that never train: the backward computes the gradient of the input only. On a CPU the weights
/// are packed on first use, once for the forward and once for the backward. The kernel is chosen in linear.cpp and
/// nowhere else: our own where the processor has the instructions (processor.h), else oneDNN's, LibTorch's on a GPU.
/// With `products` of 16 bits weights and products are held in that type, while inputs, outputs and gradients stay as
/// they come. With at::kChar products are of bytes, inputs scaled a row and weights an output, on CPUs with such
/// instructions (else Error) and without gradients (Error). Copies share their weights. Thread-safe.
class FrozenLinear {
 public:
  FrozenLinear() = default;
  explicit FrozenLinear(const Tensor& weight, const Tensor& bias = {}, at::ScalarType products = at::kFloat);

  Tensor operator()(const Tensor& input) const;
  /// activate(y), in one kernel where that exists.
  Tensor activated(const Tensor& input, Activation activation) const;
  /// residual + y, in one kernel where that exists; `residual` has y's shape.
  Tensor added(const Tensor& input, const Tensor& residual) const;

  const Tensor& weight() const;
  const Tensor& bias() const;
  bool defined() const { return weights_ != nullptr; }

 private:
  std::shared_ptr<FrozenWeights> weights_;
};

}  // namespace attune

#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "attune/base/random.h"
#include "attune/tensors/tensor.h"

namespace attune::testing_support {

/// Options of check_gradient. The defaults suit functions that compute in fp64; fp32 needs about 1e-2 for both.
struct GradientCheck {
  double step = 1e-6;       // of the central difference
  double tolerance = 1e-6;  // relative to the largest entry of the numeric gradient
};

/// Compares the gradients that autograd gives for a random projection of function(inputs) with central differences, for
/// every entry of every input. The inputs are copied; the projection keeps an error from cancelling out in a plain sum.
inline void check_gradient(const std::function<Tensor(const std::vector<Tensor>&)>& function,
                           const std::vector<Tensor>& inputs, const GradientCheck& options = {}) {
  std::vector<Tensor> leaves;
  for (const auto& input : inputs) leaves.push_back(input.detach().clone().set_requires_grad(true));
  const Tensor output = function(leaves);
  KeyedRandom random(17, "gradient check");
  const Tensor projection = normal(output.sizes(), 0.0, 1.0, random).to(output.options());
  (output * projection).sum().backward();
  const auto value = [&] {
    const at::NoGradGuard frozen;
    return (function(leaves) * projection).to(at::kDouble).sum().item<double>();
  };
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    ASSERT_TRUE(leaves[i].grad().defined()) << "input " << i << " got no gradient";
    const at::NoGradGuard frozen;
    const Tensor entries = leaves[i].view({-1});
    const Tensor found = leaves[i].grad().reshape({-1}).to(at::kDouble);
    Tensor numeric = at::empty({entries.numel()}, at::kDouble);
    for (std::int64_t j = 0; j < entries.numel(); ++j) {
      const Tensor entry = entries[j];
      const double centre = entry.item<double>();
      entry.fill_(centre + options.step);
      const double above = value();
      entry.fill_(centre - options.step);
      numeric[j] = (above - value()) / (2.0 * options.step);
      entry.fill_(centre);
    }
    const double scale = std::max(1e-3, numeric.abs().max().item<double>());
    EXPECT_LE((found - numeric).abs().max().item<double>(), options.tolerance * scale) << "input " << i;
  }
}

}  // namespace attune::testing_support

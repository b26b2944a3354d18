#include "attune/tensors/layers.h"

#include <optional>

namespace attune {

Tensor activate(const Tensor& input, Activation activation) {
  if (activation == Activation::kQuickGelu) return at::silu(input * kQuickGeluFactor) * (1.0 / kQuickGeluFactor);
  return at::gelu(input);
}

Tensor LayerNorm::operator()(const Tensor& input) const {
  return at::layer_norm(input, {input.size(-1)}, weight, bias, epsilon);
}

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, bool causal) {
  const auto added = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  const Tensor mixed = at::scaled_dot_product_attention(q, k, v, added, 0.0, causal);
  return mixed.transpose(1, 2).reshape({q.size(0), q.size(2), q.size(1) * q.size(3)});
}

}  // namespace attune

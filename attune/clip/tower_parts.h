#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "attune/tensors/tensor.h"

namespace attune {

/// A call of a tower that is cut into parts, each computed from slices of the call's tensors.
struct TowerParts {
  std::int64_t count = 0;
  /// What part `i` sees of the tensor at a place of the call's list: a view.
  std::function<Tensor(std::int64_t i, std::size_t place, const Tensor& tensor)> slice;
  /// The features of a part from its slices, in the order of the list.
  std::function<Tensor(std::int64_t i, const std::vector<Tensor>& slices)> encode;
  /// The features of all parts as those of the whole; and what of its gradient belongs to a part.
  std::function<Tensor(const std::vector<Tensor>& features)> join;
  std::function<Tensor(std::int64_t i, const Tensor& gradient)> share;
  /// Whether the graph of a part is kept for the backward; the others are computed again there (a third more work for
  /// those), so that memory does not grow with the call.
  std::function<bool(std::int64_t i)> keeps;
};

/// The features of a call part by part, on the threads of in_parallel. Differentiable in every tensor of the list
/// (undefined ones are passed on) that wants a gradient. Gradients equal those of the whole up to rounding.
Tensor encode_in_parts(TowerParts parts, const std::vector<Tensor>& tensors);

}  // namespace attune

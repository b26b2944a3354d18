#pragma once

#include <string>

#include "attune/tensors/tensor.h"

namespace attune {

/// A linear layer on quaternions (Parcollet et al. 2019, as DPLQ uses it): the input's four quarters are the parts of
/// quaternions, which a quaternion of weights multiplies from the left. A quarter of the weights of a plain layer.
struct QuaternionLinear {
  Tensor r, i, j, k;  // [in / 4, out / 4]
  Tensor bias;        // [out]

  /// Glorot's start: a chi-distributed length, a random axis and a random angle for every weight; the bias is zero.
  static QuaternionLinear start(std::int64_t in, std::int64_t out, KeyedRandom& random);

  /// The layer as one matrix [in, out].
  Tensor matrix() const;
  /// [..., in] -> [..., out].
  Tensor operator()(const Tensor& input) const;
  /// The same for inputs whose first half is zero, of which the second half [..., in / 2] is given.
  Tensor of_second_half(const Tensor& half) const;

  /// The second half of the matrix's rows [in / 2, out].
  Tensor second_half() const;

  /// The five tensors as "<prefix>.r" and so on.
  void add_to(TensorMap& tensors, const std::string& prefix) const;
  static QuaternionLinear from(const TensorMap& tensors, const std::string& prefix);
};

}  // namespace attune

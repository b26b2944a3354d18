#include "attune/methods/quaternion.h"

#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

/// Keeps the axis of a rotation finite.
constexpr double kAxisEpsilon = 1e-4;
constexpr int kChiDegrees = 4;

}  // namespace

QuaternionLinear QuaternionLinear::start(std::int64_t in, std::int64_t out, KeyedRandom& random) {
  if (in % 4 != 0 || out % 4 != 0) {
    throw Error(fmt::format("quaternion layer: expected widths that four divides, found {} and {}", in, out));
  }
  const std::int64_t rows = in / 4, columns = out / 4;
  const double deviation = 1.0 / std::sqrt(2.0 * static_cast<double>(rows + columns));
  QuaternionLinear layer;
  for (Tensor* part : {&layer.r, &layer.i, &layer.j, &layer.k}) *part = at::empty({rows, columns});
  float* parts[] = {layer.r.mutable_data_ptr<float>(), layer.i.mutable_data_ptr<float>(),
                    layer.j.mutable_data_ptr<float>(), layer.k.mutable_data_ptr<float>()};
  for (std::int64_t n = 0; n < rows * columns; ++n) {
    double squares = 0, axis[3];
    for (int degree = 0; degree < kChiDegrees; ++degree) squares += std::pow(random.normal(), 2);
    const double length = deviation * std::sqrt(squares);
    for (double& one : axis) one = random.uniform(-1, 1);
    const double norm = std::hypot(axis[0], axis[1], axis[2]) + kAxisEpsilon;
    const double angle = random.uniform(-std::numbers::pi, std::numbers::pi);
    parts[0][n] = static_cast<float>(length * std::cos(angle));
    for (int one = 0; one < 3; ++one) {
      parts[one + 1][n] = static_cast<float>(length * std::sin(angle) * axis[one] / norm);
    }
  }
  layer.bias = at::zeros({out});
  return layer;
}

Tensor QuaternionLinear::matrix() const {
  return at::cat({at::cat({r, i, j, k}, 1), at::cat({-i, r, k, -j}, 1), second_half()});
}

Tensor QuaternionLinear::second_half() const {
  return at::cat({at::cat({-j, -k, r, i}, 1), at::cat({-k, j, -i, r}, 1)});
}

Tensor QuaternionLinear::operator()(const Tensor& input) const {
  return at::matmul(input, matrix()) + bias;
}

Tensor QuaternionLinear::of_second_half(const Tensor& half) const {
  return at::matmul(half, second_half()) + bias;
}

void QuaternionLinear::add_to(TensorMap& tensors, const std::string& prefix) const {
  tensors[prefix + ".r"] = r;
  tensors[prefix + ".i"] = i;
  tensors[prefix + ".j"] = j;
  tensors[prefix + ".k"] = k;
  tensors[prefix + ".bias"] = bias;
}

QuaternionLinear QuaternionLinear::from(const TensorMap& tensors, const std::string& prefix) {
  return {tensors.at(prefix + ".r"), tensors.at(prefix + ".i"), tensors.at(prefix + ".j"), tensors.at(prefix + ".k"),
          tensors.at(prefix + ".bias")};
}

}  // namespace attune

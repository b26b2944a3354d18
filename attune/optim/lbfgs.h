#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "attune/tensors/tensor.h"

namespace attune {

/// Value and gradient of a smooth function at a point; the gradient has the shape and type (fp64) of the point.
using SmoothFunction = std::function<std::pair<double, Tensor>(const Tensor& point)>;

struct LbfgsOptions {
  std::int64_t iterations = 1000;
  double tolerance = 1e-9;   // of the largest absolute entry of the gradient
  std::size_t history = 10;  // pairs of steps and gradient changes that stand for the curvature
};

struct LbfgsResult {
  Tensor point;
  double value = 0.0;
  double gradient = 0.0;  // largest absolute entry
  std::int64_t iterations = 0;
  bool converged = false;  // false: out of iterations, or no step along the gradient lowers the value any further
};

/// Minimises without a random choice: limited-memory BFGS with a line search for the strong Wolfe conditions
/// (Nocedal and Wright 2006, algorithms 7.4, 7.5, 3.5 and 3.6). `start` is fp64. Throws Error where the value or the
/// gradient at `start` is not finite.
LbfgsResult minimise_lbfgs(const SmoothFunction& objective, const Tensor& start, const LbfgsOptions& options);

}  // namespace attune

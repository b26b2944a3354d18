#include "attune/methods/network.h"

#include <cmath>

namespace attune {

Tensor linear_start(at::IntArrayRef shape, std::int64_t in, KeyedRandom& random) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  return uniform(shape, -bound, bound, random);
}

Tensor xavier_start(std::int64_t out, std::int64_t in, KeyedRandom& random) {
  const double bound = std::sqrt(6.0 / static_cast<double>(in + out));
  return uniform({out, in}, -bound, bound, random);
}

Tensor dropout_mask(at::IntArrayRef shape, double rate, KeyedRandom& random) {
  const double kept = 1.0 - rate;
  return uniform(shape, 0, 1, random).lt(kept).to(at::kFloat) / kept;
}

}  // namespace attune

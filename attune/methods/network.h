#pragma once

#include <cstdint>

#include "attune/tensors/tensor.h"

namespace attune {

/// Starts of learned layers and dropout, with numbers from a keyed generator.

/// PyTorch's start of a linear layer's weight or bias: uniform within 1 / sqrt(in).
Tensor linear_start(at::IntArrayRef shape, std::int64_t in, KeyedRandom& random);

/// Xavier's start of a weight [out, in] (Glorot and Bengio 2010): uniform within sqrt(6 / (in + out)).
Tensor xavier_start(std::int64_t out, std::int64_t in, KeyedRandom& random);

/// A mask whose entries are 0 with the probability `rate`, else 1 / (1 - rate).
Tensor dropout_mask(at::IntArrayRef shape, double rate, KeyedRandom& random);

}  // namespace attune

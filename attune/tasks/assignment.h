#pragma once

#include <cstdint>
#include <vector>

#include "attune/tensors/tensor.h"

namespace attune {

/// The cheapest way to give every row of `cost` [rows, columns] a column of its own (the Hungarian method, with
/// potentials and shortest augmenting paths): the column of each row. Where there are more rows than columns every
/// column is taken, and rows without one have -1. Throws Error unless all costs are finite.
std::vector<std::int64_t> cheapest_assignment(const Tensor& cost);

}  // namespace attune

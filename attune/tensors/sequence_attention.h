#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "attune/tensors/tensor.h"

namespace attune {

/// One sequence among the rows of a matrix: every row sees the rows of the prefix, itself, and those before it in the
/// sequence.
struct Sequence {
  std::int64_t row = 0, length = 0;
  std::int64_t prefix_row = 0, prefix_length = 0;  // length 0: no prefix
  std::int64_t first_query = 0;                    // rows of the sequence before it only serve as keys and values
  std::int64_t output_row = 0;                     // of the first query
};
using Sequences = std::shared_ptr<const std::vector<Sequence>>;

/// Does `attend_sequences` take rows like these: fp32 on a CPU with AVX2, heads of a multiple of 8?
bool attends_sequences(const Tensor& fused, std::int64_t heads);

/// Scaled dot-product attention of many short sequences that share prefixes, without a copy of any of them.
/// fused [rows, 3 width] (queries, keys, values; in each the heads side by side) -> [outputs, width]. Differentiable;
/// scores are computed again in the backward. Heads are divided over the threads of in_parallel.
Tensor attend_sequences(const Tensor& fused, std::int64_t heads, const Sequences& sequences, std::int64_t outputs);

}  // namespace attune

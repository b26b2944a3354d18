#pragma once

#include <cstdint>

#include "attune/tensors/product_kernel.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// A frozen matrix in the order in which a kernel of our own reads it: panels of outputs, each [words, tile columns].
/// A product's row depends on that row alone, never on how many rows or threads there are.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// Dense fp32 weight [out, in], or the transpose of [in, out].
  PackedMatrix(const ProductKernel& kernel, const Tensor& weight, bool transposed = false);

  bool defined() const { return panels_.defined(); }
  /// output [rows, out] = end(input [rows, in] W^T), dense rows, on the threads of in_parallel. With `before` [rows,
  /// in] the input is first multiplied with QuickGELU's derivative there.
  void multiply(const float* input, std::int64_t rows, float* output, const ProductEnd& end = {},
                const float* before = nullptr) const;

 private:
  struct Call;
  struct Share;
  Share share_of(std::int64_t part, std::int64_t parts, std::int64_t rows) const;
  std::int64_t block_rows(std::int64_t rows) const;
  void multiply_share(const Call& call, const Share& share) const;

  const ProductKernel* kernel_ = nullptr;
  std::int64_t out_ = 0, in_ = 0, words_ = 0;
  Tensor panels_;  // [panels, words, tile columns] int32, aligned to 64 bytes
  Tensor scales_;  // [panels, 2, tile columns] of int8
};

}  // namespace attune

#pragma once

#include <cstdint>

#include "attune/tensors/layers.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// What happens to y = x W^T on its way to memory: y + bias, then the activation, then + residual. Null pointers mean
/// "nothing".
struct ProductEnd {
  const float* bias = nullptr;  // [out]
  float* before = nullptr;      // [rows, out]: y + bias is kept here
  bool quick_gelu = false;
  const float* residual = nullptr;  // [rows, out]
};

/// A frozen fp32 matrix in the order in which the AVX2 kernel reads it: panels of 16 outputs, each [in, 16]. A
/// product's row depends on that row alone, never on how many rows or threads there are.
class PackedMatrix {
 public:
  /// Does this processor run the kernel?
  static bool supported();

  PackedMatrix() = default;
  /// Dense fp32 weight [out, in], or the transpose of [in, out].
  explicit PackedMatrix(const Tensor& weight, bool transposed = false);

  bool defined() const { return panels_.defined(); }
  /// output [rows, out] = end(input [rows, in] W^T), dense rows, on the threads of in_parallel. With `before` [rows,
  /// in] the input is first multiplied with QuickGELU's derivative there.
  void multiply(const float* input, std::int64_t rows, float* output, const ProductEnd& end = {},
                const float* before = nullptr) const;

 private:
  std::int64_t out_ = 0, in_ = 0;
  Tensor panels_;  // [ceil(out / 16), in, 16], aligned to 64 bytes
};

}  // namespace attune

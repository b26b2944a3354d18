#pragma once

#include <algorithm>
#include <vector>

#include "attune/tensors/sequence_attention.h"

namespace attune {

/// One head of the rows: where its queries, keys and values begin, and how far the rows are apart.
template <class T>
struct Head {
  T* q;
  T* k;
  T* v;
  std::int64_t stride, size;

  Head(T* fused, std::int64_t width, std::int64_t size, std::int64_t head)
      : q(fused + head * size), k(q + width), v(k + width), stride(3 * width), size(size) {}
};

/// Keys of the longest sequence, as a multiple of 8.
inline std::int64_t longest_sequence(const std::vector<Sequence>& sequences) {
  std::int64_t keys = 0;
  for (const Sequence& one : sequences) keys = std::max(keys, one.prefix_length + one.length);
  return (keys + 7) / 8 * 8;
}

/// Attention of one head of all sequences.
struct SequenceKernel {
  /// Output rows are `output_stride` apart.
  void (*attend)(const Head<const float>& head, const std::vector<Sequence>& sequences, float* output,
                 std::int64_t output_stride);
  /// Adds to the gradients of the head, which begin as zeros.
  void (*backward)(const Head<const float>& head, const Head<float>& gradient, const std::vector<Sequence>& sequences,
                   const float* output_gradient, std::int64_t output_stride);
};

const SequenceKernel& avx2_sequences();

}  // namespace attune

#include <cmath>
#include <limits>

#include "attune/tensors/sequence_kernel.h"
#include "attune/tensors/simd_avx2.h"

namespace attune {
namespace {

/// The row of the j-th key of a query: the prefix first, then the sequence's own.
std::int64_t key_row(const Sequence& sequence, std::int64_t j) {
  return j < sequence.prefix_length ? sequence.prefix_row + j : sequence.row + j - sequence.prefix_length;
}

ATTUNE_AVX2 float dot(const float* a, const float* b, std::int64_t size) {
  __m256 total = _mm256_setzero_ps();
  for (std::int64_t i = 0; i < size; i += 8) {
    total = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), total);
  }
  return avx2::sum(total);
}

/// to += factor * from
ATTUNE_AVX2 void add_scaled(float* to, float factor, const float* from, std::int64_t size) {
  const __m256 factors = _mm256_set1_ps(factor);
  for (std::int64_t i = 0; i < size; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_fmadd_ps(factors, _mm256_loadu_ps(from + i), _mm256_loadu_ps(to + i)));
  }
}

/// weights[j] = softmax over the keys 0 .. keys - 1 of scale * query . key. Room for a multiple of 8.
ATTUNE_AVX2 void attention_weights(const Head<const float>& head, const Sequence& sequence, const float* query,
                                   std::int64_t keys, float* weights) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(head.size));
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = 0; j < keys; ++j) {
    weights[j] = dot(query, head.k + key_row(sequence, j) * head.stride, head.size) * scale;
    largest = std::max(largest, weights[j]);
  }
  const std::int64_t padded = (keys + 7) / 8 * 8;
  for (std::int64_t j = keys; j < padded; ++j) weights[j] = -std::numeric_limits<float>::infinity();
  __m256 totals = _mm256_setzero_ps();
  for (std::int64_t j = 0; j < padded; j += 8) {
    const __m256 power = avx2::exp(_mm256_sub_ps(_mm256_loadu_ps(weights + j), _mm256_set1_ps(largest)));
    _mm256_storeu_ps(weights + j, power);
    totals = _mm256_add_ps(totals, power);
  }
  const __m256 share = _mm256_set1_ps(1.0F / avx2::sum(totals));
  for (std::int64_t j = 0; j < padded; j += 8) {
    _mm256_storeu_ps(weights + j, _mm256_mul_ps(_mm256_loadu_ps(weights + j), share));
  }
}

void attend_head(const Head<const float>& head, const std::vector<Sequence>& sequences, float* output,
                 std::int64_t output_stride) {
  std::vector<float> weights(static_cast<std::size_t>(longest_sequence(sequences)));
  for (const Sequence& sequence : sequences) {
    for (std::int64_t t = sequence.first_query; t < sequence.length; ++t) {
      const std::int64_t keys = sequence.prefix_length + t + 1;
      attention_weights(head, sequence, head.q + (sequence.row + t) * head.stride, keys, weights.data());
      float* mixed = output + (sequence.output_row + t - sequence.first_query) * output_stride;
      std::fill(mixed, mixed + head.size, 0.0F);
      for (std::int64_t j = 0; j < keys; ++j) {
        add_scaled(mixed, weights[static_cast<std::size_t>(j)], head.v + key_row(sequence, j) * head.stride, head.size);
      }
    }
  }
}

void attend_head_backward(const Head<const float>& head, const Head<float>& gradient,
                          const std::vector<Sequence>& sequences, const float* output_gradient,
                          std::int64_t output_stride) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(head.size));
  std::vector<float> weights(static_cast<std::size_t>(longest_sequence(sequences))), slopes(weights.size());
  for (const Sequence& sequence : sequences) {
    for (std::int64_t t = sequence.first_query; t < sequence.length; ++t) {
      const std::int64_t keys = sequence.prefix_length + t + 1, row = (sequence.row + t) * head.stride;
      const float* mixed = output_gradient + (sequence.output_row + t - sequence.first_query) * output_stride;
      attention_weights(head, sequence, head.q + row, keys, weights.data());
      float mean = 0.0F;
      for (std::int64_t j = 0; j < keys; ++j) {
        const auto at = static_cast<std::size_t>(j);
        slopes[at] = dot(mixed, head.v + key_row(sequence, j) * head.stride, head.size);
        mean += weights[at] * slopes[at];
      }
      for (std::int64_t j = 0; j < keys; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const std::int64_t key = key_row(sequence, j) * head.stride;
        const float slope = weights[at] * (slopes[at] - mean) * scale;
        add_scaled(gradient.v + key, weights[at], mixed, head.size);
        add_scaled(gradient.q + row, slope, head.k + key, head.size);
        add_scaled(gradient.k + key, slope, head.q + row, head.size);
      }
    }
  }
}

}  // namespace

const SequenceKernel& avx2_sequences() {
  static constexpr SequenceKernel kKernel{attend_head, attend_head_backward};
  return kKernel;
}

}  // namespace attune

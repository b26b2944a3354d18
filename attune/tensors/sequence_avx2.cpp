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

/// Sums of the numbers of four vectors.
ATTUNE_AVX2 __m128 sums(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

/// products[j] = vector . row of the j-th key, four keys at a time. Room for a multiple of 4.
ATTUNE_AVX2 void dots(const float* vector, const float* rows, std::int64_t stride, std::int64_t size,
                      const Sequence& sequence, std::int64_t keys, float* products) {
  for (std::int64_t j = 0; j < keys; j += 4) {
    const float* row[4];
    for (std::int64_t i = 0; i < 4; ++i) row[i] = rows + key_row(sequence, std::min(j + i, keys - 1)) * stride;
    __m256 total[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (std::int64_t k = 0; k < size; k += 8) {
      const __m256 x = _mm256_loadu_ps(vector + k);
      for (int i = 0; i < 4; ++i) total[i] = _mm256_fmadd_ps(x, _mm256_loadu_ps(row[i] + k), total[i]);
    }
    _mm_storeu_ps(products + j, sums(total[0], total[1], total[2], total[3]));
  }
}

/// 8 * kVectors numbers of the rows of all keys, weighted and added up.
template <int kVectors>
ATTUNE_AVX2 void mix_some(const float* weights, const float* rows, std::int64_t stride, const Sequence& sequence,
                          std::int64_t keys, float* mixed) {
  __m256 total[kVectors];
  for (__m256& one : total) one = _mm256_setzero_ps();
  for (std::int64_t j = 0; j < keys; ++j) {
    const float* row = rows + key_row(sequence, j) * stride;
    const __m256 weight = _mm256_set1_ps(weights[j]);
    for (int i = 0; i < kVectors; ++i) total[i] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(row + 8 * i), total[i]);
  }
  for (int i = 0; i < kVectors; ++i) _mm256_storeu_ps(mixed + 8 * i, total[i]);
}

/// mixed [size] = the rows of all keys, weighted and added up.
void mix(const float* weights, const float* rows, std::int64_t stride, std::int64_t size, const Sequence& sequence,
         std::int64_t keys, float* mixed) {
  std::int64_t k = 0;
  for (; k + 64 <= size; k += 64) mix_some<8>(weights, rows + k, stride, sequence, keys, mixed + k);
  for (; k < size; k += 8) mix_some<1>(weights, rows + k, stride, sequence, keys, mixed + k);
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
  dots(query, head.k, head.stride, head.size, sequence, keys, weights);
  for (std::int64_t j = 0; j < keys; ++j) {
    weights[j] *= scale;
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
      mix(weights.data(), head.v, head.stride, head.size, sequence, keys, mixed);
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
      dots(mixed, head.v, head.stride, head.size, sequence, keys, slopes.data());
      float mean = 0.0F;
      for (std::int64_t j = 0; j < keys; ++j) {
        mean += weights[static_cast<std::size_t>(j)] * slopes[static_cast<std::size_t>(j)];
      }
      for (std::int64_t j = 0; j < keys; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const std::int64_t key = key_row(sequence, j) * head.stride;
        slopes[at] = weights[at] * (slopes[at] - mean) * scale;
        add_scaled(gradient.v + key, weights[at], mixed, head.size);
        add_scaled(gradient.k + key, slopes[at], head.q + row, head.size);
      }
      mix(slopes.data(), head.k, head.stride, head.size, sequence, keys, gradient.q + row);
    }
  }
}

}  // namespace

const SequenceKernel& avx2_sequences() {
  static constexpr SequenceKernel kKernel{attend_head, attend_head_backward};
  return kKernel;
}

}  // namespace attune

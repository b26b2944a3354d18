#include "attune/tensors/sequence_attention.h"

#include <cmath>
#include <limits>

#include <torch/csrc/autograd/custom_function.h>

#include "attune/tensors/packed_matrix.h"
#include "attune/tensors/parallel.h"
#include "attune/tensors/simd_avx2.h"

namespace attune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

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

std::int64_t longest(const std::vector<Sequence>& sequences) {
  std::int64_t keys = 0;
  for (const Sequence& one : sequences) keys = std::max(keys, one.prefix_length + one.length);
  return (keys + 7) / 8 * 8;
}

void attend_head(const Head<const float>& head, const std::vector<Sequence>& sequences, float* output,
                 std::int64_t output_stride) {
  std::vector<float> weights(static_cast<std::size_t>(longest(sequences)));
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

/// Adds to the gradients of one head, which begin as zeros.
void attend_head_backward(const Head<const float>& head, const Head<float>& gradient,
                          const std::vector<Sequence>& sequences, const float* output_gradient,
                          std::int64_t output_stride) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(head.size));
  std::vector<float> weights(static_cast<std::size_t>(longest(sequences))), slopes(weights.size());
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

double operations_of(const Tensor& fused, const std::vector<Sequence>& sequences) {
  return 4.0 * static_cast<double>(fused.numel() * longest(sequences));
}

Tensor forward_of(const Tensor& fused, std::int64_t heads, const std::vector<Sequence>& sequences,
                  std::int64_t outputs) {
  const std::int64_t width = fused.size(1) / 3, size = width / heads;
  Tensor output = at::empty({outputs, width}, fused.options());
  const auto* rows = fused.const_data_ptr<float>();
  auto* mixed = output.mutable_data_ptr<float>();
  in_parallel(heads, operations_of(fused, sequences), [&](std::int64_t head) {
    attend_head({rows, width, size, head}, sequences, mixed + head * size, width);
  });
  return output;
}

/// Keeps the list of sequences alive as long as a graph needs it.
struct Held : torch::CustomClassHolder {
  explicit Held(Sequences shared) : sequences(std::move(shared)) {}
  Sequences sequences;
};

struct AttendSequences : torch::autograd::Function<AttendSequences> {
  static Tensor forward(AutogradContext* context, const Tensor& fused, std::int64_t heads, const Sequences& sequences,
                        std::int64_t outputs) {
    const at::AutoDispatchBelowAutograd below;
    context->save_for_backward({fused});
    context->saved_data["heads"] = heads;
    context->saved_data["sequences"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(sequences));
    return forward_of(fused, heads, *sequences, outputs);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::AutoDispatchBelowAutograd below;
    const Tensor fused = context->get_saved_variables().front(), dense = gradients[0].contiguous();
    const auto held = context->saved_data["sequences"].toCapsule();
    const auto& sequences = *static_cast<Held*>(held.get())->sequences;
    const std::int64_t heads = context->saved_data["heads"].toInt(), width = fused.size(1) / 3, size = width / heads;
    const Tensor result = at::zeros_like(fused);
    const auto* rows = fused.const_data_ptr<float>();
    const auto* mixed = dense.const_data_ptr<float>();
    auto* written = result.mutable_data_ptr<float>();
    in_parallel(heads, operations_of(fused, sequences), [&](std::int64_t head) {
      attend_head_backward({rows, width, size, head}, {written, width, size, head}, sequences, mixed + head * size,
                           width);
    });
    return {result, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

bool attends_sequences(const Tensor& fused, std::int64_t heads) {
  return PackedMatrix::supported() && fused.is_cpu() && fused.scalar_type() == at::kFloat &&
         fused.size(1) / 3 / heads % 8 == 0;
}

Tensor attend_sequences(const Tensor& fused, std::int64_t heads, const Sequences& sequences, std::int64_t outputs) {
  const Tensor rows = fused.contiguous();
  if (at::GradMode::is_enabled() && fused.requires_grad()) {
    return AttendSequences::apply(rows, heads, sequences, outputs);
  }
  return forward_of(rows, heads, *sequences, outputs);
}

}  // namespace attune

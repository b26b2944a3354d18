#include "attune/tensors/sequence_attention.h"

#include <gtest/gtest.h>

#include "attune/tensors/layers.h"
#include "attune/tensors/processor.h"

namespace attune {
namespace {

constexpr std::int64_t kHeads = 3, kSize = 16, kWidth = kHeads * kSize;

Tensor draw_fused(std::int64_t rows) {
  KeyedRandom random(2, "fused");
  return normal({rows, 3 * kWidth}, 0.0, 1.5, random);
}

/// The same one sequence at a time, from LibTorch's attention in double precision.
Tensor expected_of(const Tensor& fused, const std::vector<Sequence>& sequences) {
  std::vector<Tensor> outputs;
  for (const Sequence& one : sequences) {
    const Tensor rows =
        at::cat({fused.narrow(0, one.prefix_row, one.prefix_length), fused.narrow(0, one.row, one.length)});
    const auto parts = rows.view({1, -1, 3, kHeads, kSize}).permute({2, 0, 3, 1, 4}).unbind();
    const Tensor mixed = attend(parts[0], parts[1], parts[2], {}, true).squeeze(0);
    outputs.push_back(mixed.narrow(0, one.prefix_length + one.first_query, one.length - one.first_query));
  }
  return at::cat(outputs);
}

struct SequenceAttention : testing::Test {
  void SetUp() override {
    if (!processor().avx2) GTEST_SKIP() << "this processor has no AVX2 with FMA";
    ASSERT_TRUE(attends_sequences(draw_fused(1), kHeads));
  }
  // Two prefixes of 4 rows with causal attention of their own, and sequences of 1 to 3 rows behind them.
  std::vector<Sequence> all{{0, 4, 0, 0, 0, 0},   {4, 4, 0, 0, 0, 4},   {8, 3, 0, 4, 0, 8},
                            {11, 1, 4, 4, 0, 11}, {12, 2, 4, 4, 0, 12}, {14, 3, 0, 4, 0, 14}};
  std::vector<Sequence> ends{{8, 3, 0, 4, 2, 0}, {11, 1, 4, 4, 0, 1}, {12, 2, 4, 4, 1, 2}, {14, 3, 0, 4, 2, 3}};
};

TEST_F(SequenceAttention, EqualsAttentionOfEachSequenceWithItsPrefix) {
  const Tensor fused = draw_fused(17);
  for (const auto& sequences : {all, ends}) {
    const Tensor expected = expected_of(fused.to(at::kDouble), sequences);
    const Tensor found =
        attend_sequences(fused, kHeads, std::make_shared<const std::vector<Sequence>>(sequences), expected.size(0));
    EXPECT_LT((found - expected).abs().max().item<double>(), 2e-6);
  }
}

TEST_F(SequenceAttention, GradientsEqualThoseOfEachSequenceWithItsPrefix) {
  for (const auto& sequences : {all, ends}) {
    Tensor fused = draw_fused(17).requires_grad_(true), wide = fused.detach().to(at::kDouble).requires_grad_(true);
    const Tensor expected = expected_of(wide, sequences);
    const Tensor weight = at::arange(expected.numel(), at::kDouble).view(expected.sizes()).sin();
    expected.backward(weight);
    attend_sequences(fused, kHeads, std::make_shared<const std::vector<Sequence>>(sequences), expected.size(0))
        .backward(weight.to(at::kFloat));
    EXPECT_LT((fused.grad() - wide.grad()).abs().max().item<double>(), 1e-5);
  }
}

}  // namespace
}  // namespace attune

#include "attune/clip/transformer.h"

#include <gtest/gtest.h>

#include "attune/base/error.h"

namespace attune {
namespace {

/// What a delta that is the identity lets through of ones under dropout: 0 or 1 / (1 - rate).
Tensor let_through(const Tensor& names, double rate, std::uint64_t key, std::int64_t width = 64) {
  LowRank delta{.down = at::eye(width), .up = at::eye(width), .dropout = rate};
  delta.dropout_key = key;
  const std::int64_t rows = names.size(0);
  return add_low_rank(at::zeros({rows, width}), at::ones({rows, width}), delta, names);
}

TEST(LowRankDropout, LeavesOutTheShareAndKeepsTheMean) {
  for (const double rate : {0.1, 0.25, 0.5, 0.9}) {
    const Tensor through = let_through(at::arange(1000, at::kLong), rate, 7);
    const Tensor left = through.eq(0).to(at::kFloat);
    // Of 64,000 draws; five standard deviations are 0.01 at most.
    EXPECT_NEAR(left.mean().item<double>(), rate, 0.01);
    EXPECT_LE((through - (1 - left) / (1 - rate)).abs().max().item<double>(), 1e-5);
    // No column and no row is left out much more often than others: five standard deviations of 1000 and 64 draws.
    EXPECT_LE((left.mean(0) - rate).abs().max().item<double>(), 0.08);
    EXPECT_LE((left.mean(1) - rate).abs().max().item<double>(), 0.32);
  }
}

TEST(LowRankDropout, ARowsMaskDependsOnItsNameAndTheKeyAlone) {
  const Tensor all = let_through(at::arange(10, at::kLong), 0.5, 3);
  EXPECT_TRUE(at::equal(let_through(at::tensor({7, 2, 7}, at::kLong), 0.5, 3),
                        all.index_select(0, at::tensor({7, 2, 7}, at::kLong))));
  EXPECT_FALSE(at::equal(all[0], all[1]));
  EXPECT_FALSE(at::equal(let_through(at::arange(10, at::kLong), 0.5, 4), all));
}

TEST(LowRankDropout, RowsWithoutNamesAreRefused) {
  const LowRank delta{.down = at::eye(4), .up = at::eye(4), .dropout = 0.5};
  EXPECT_THROW(add_low_rank(at::zeros({2, 4}), at::ones({2, 4}), delta), Error);
  EXPECT_THROW(add_low_rank(at::zeros({2, 4}), at::ones({2, 4}), delta, at::arange(3, at::kLong)), Error);
}

}  // namespace
}  // namespace attune

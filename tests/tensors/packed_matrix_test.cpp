#include "attune/tensors/packed_matrix.h"

#include <atomic>
#include <stdexcept>
#include <tuple>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "attune/tensors/linear.h"
#include "attune/tensors/parallel.h"

namespace attune {
namespace {

Tensor draw(at::IntArrayRef shape, const char* purpose) {
  KeyedRandom random(5, purpose);
  return normal(shape, 0.0, 1.0, random);
}

double difference(const Tensor& found, const Tensor& expected) {
  return ((found.to(at::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

struct Product {
  std::int64_t rows, in, out;
  Tensor x = draw({rows, in}, "x"), weight = draw({out, in}, "w"), bias = draw({out}, "b"),
         residual = draw({rows, out}, "r"), before = at::empty({rows, out}), y = at::empty({rows, out});
  PackedMatrix packed{weight};

  Tensor dense() const { return at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble)); }
};

class PackedMatrixTest : public testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t>> {
 protected:
  void SetUp() override {
    if (!PackedMatrix::supported()) GTEST_SKIP() << "this processor has no AVX2 with FMA";
  }
  Product product() const { return {std::get<0>(GetParam()), std::get<1>(GetParam()), std::get<2>(GetParam())}; }
};

TEST_P(PackedMatrixTest, MultipliesWithEveryEnd) {
  Product p = product();
  const Tensor dense = p.dense();
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, p.y.data_ptr<float>(), {.bias = p.bias.data_ptr<float>()});
  EXPECT_LT(difference(p.y, dense), 2e-6);
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, p.y.data_ptr<float>(),
                    {.bias = p.bias.data_ptr<float>(), .residual = p.residual.data_ptr<float>()});
  EXPECT_LT(difference(p.y, dense + p.residual), 2e-6);
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, p.y.data_ptr<float>(),
                    {.bias = p.bias.data_ptr<float>(), .before = p.before.data_ptr<float>(), .quick_gelu = true});
  EXPECT_LT(difference(p.before, dense), 2e-6);
  EXPECT_LT(difference(p.y, activate(dense, Activation::kQuickGelu)), 2e-6);
}

TEST_P(PackedMatrixTest, OfATransposedMatrixIsTheSame) {
  Product p = product();
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, p.y.data_ptr<float>());
  const Tensor again = at::empty_like(p.y);
  PackedMatrix(p.weight.t().contiguous(), true).multiply(p.x.data_ptr<float>(), p.rows, again.data_ptr<float>());
  EXPECT_TRUE(again.equal(p.y));
}

TEST_P(PackedMatrixTest, AppliesTheSlopeOfQuickGeluToItsInput) {
  Product p = product();
  const Tensor before = draw({p.rows, p.in}, "h") * 3;
  Tensor wide = before.to(at::kDouble).requires_grad_(true);
  activate(wide, Activation::kQuickGelu).backward(p.x.to(at::kDouble));
  const Tensor expected = at::linear(wide.grad(), p.weight.to(at::kDouble));
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, p.y.data_ptr<float>(), {}, before.data_ptr<float>());
  EXPECT_LT(difference(p.y, expected), 2e-6);
}

TEST_P(PackedMatrixTest, GivesARowTheSameBitsWhateverStandsBesideIt) {
  Product p = product();
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, p.y.data_ptr<float>());
  const Tensor alone = at::empty({1, p.out});
  p.packed.multiply(p.x[p.rows - 1].data_ptr<float>(), 1, alone.data_ptr<float>());
  EXPECT_TRUE(alone[0].equal(p.y[p.rows - 1]));
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackedMatrixTest,
                         testing::Values(std::tuple{1, 1, 1}, std::tuple{6, 8, 16}, std::tuple{5, 33, 17},
                                         std::tuple{13, 512, 48}, std::tuple{97, 513, 31}, std::tuple{200, 1100, 80}));

TEST(InParallel, RunsEveryPartOnceAndPassesExceptionsOn) {
  std::vector<std::atomic<int>> runs(50);
  in_parallel(50, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
  for (const auto& count : runs) EXPECT_EQ(count, 1);
  EXPECT_THROW(in_parallel(7,
                           [](std::int64_t i) {
                             if (i == 3) throw std::runtime_error("three");
                           }),
               std::runtime_error);
}

TEST(InParallel, PartsSeeTheCallersGradientModeAndDivideNoFurther) {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const at::NoGradGuard no_gradients;
  std::atomic<int> wrong{0};
  in_parallel(4, [&](std::int64_t) {
    wrong += at::GradMode::is_enabled() ? 1 : 0;
    wrong += parallel_width() == 1 ? 0 : 1;
  });
  EXPECT_EQ(wrong, 0);
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace attune

#include "attune/tensors/packed_matrix.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "attune/tensors/linear.h"
#include "attune/tensors/parallel.h"
#include "attune/tensors/processor.h"
#include "attune/tensors/product_kernel.h"

namespace attune {
namespace {

Tensor draw_matrix(at::IntArrayRef shape, const char* purpose) {
  KeyedRandom random(5, purpose);
  return normal(shape, 0.0, 1.0, random);
}

double relative_difference(const Tensor& found, const Tensor& expected) {
  return ((found.to(at::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

using Shape = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // rows, in, out

struct Product {
  Product(const ProductKernel& kernel, const Shape& shape)
      : rows(std::get<0>(shape)), in(std::get<1>(shape)), out(std::get<2>(shape)), packed(kernel, weight) {}

  std::int64_t rows, in, out;
  Tensor x = draw_matrix({rows, in}, "x"), weight = draw_matrix({out, in}, "w"), bias = draw_matrix({out}, "b"),
         residual = draw_matrix({rows, out}, "r"), before = at::empty({rows, out}), y = at::empty({rows, out});
  PackedMatrix packed;

  Tensor dense() const { return at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble)); }
  void multiply(const ProductEnd& end = {}) { packed.multiply(x.data_ptr<float>(), rows, y.data_ptr<float>(), end); }
};

/// A kernel and how far its products may be from the exact ones, measured by their largest.
struct Variant {
  const ProductKernel* kernel;  // null where this processor has not got it
  double tolerance;
};

class PackedMatrixTest : public testing::TestWithParam<std::tuple<Variant, Shape>> {
 protected:
  void SetUp() override {
    if (variant().kernel == nullptr) GTEST_SKIP() << "this processor does not run the kernel";
  }
  static const Variant& variant() { return std::get<0>(GetParam()); }
  static Product product() { return {*variant().kernel, std::get<1>(GetParam())}; }
  static double tolerance() { return variant().tolerance; }
};

TEST_P(PackedMatrixTest, MultipliesWithEveryEnd) {
  Product p = product();
  const Tensor dense = p.dense();
  p.multiply({.bias = p.bias.data_ptr<float>()});
  EXPECT_LT(relative_difference(p.y, dense), tolerance());
  p.multiply({.bias = p.bias.data_ptr<float>(), .residual = p.residual.data_ptr<float>()});
  EXPECT_LT(relative_difference(p.y, dense + p.residual), tolerance());
  p.multiply({.bias = p.bias.data_ptr<float>(), .before = p.before.data_ptr<float>(), .quick_gelu = true});
  EXPECT_LT(relative_difference(p.before, dense), tolerance());
  EXPECT_LT(relative_difference(p.y, activate(p.before.to(at::kDouble), Activation::kQuickGelu)), 2e-6);
}

TEST_P(PackedMatrixTest, OfATransposedMatrixIsTheSame) {
  Product p = product();
  p.multiply();
  const Tensor again = at::empty_like(p.y);
  PackedMatrix(*variant().kernel, p.weight.t().contiguous(), true)
      .multiply(p.x.data_ptr<float>(), p.rows, again.data_ptr<float>());
  EXPECT_TRUE(again.equal(p.y));
}

TEST_P(PackedMatrixTest, AppliesTheSlopeOfQuickGeluToItsInput) {
  Product p = product();
  const Tensor before = draw_matrix({p.rows, p.in}, "h") * 3;
  Tensor wide = before.to(at::kDouble).requires_grad_(true);
  activate(wide, Activation::kQuickGelu).backward(p.x.to(at::kDouble));
  const Tensor expected = at::linear(wide.grad(), p.weight.to(at::kDouble));
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, p.y.data_ptr<float>(), {}, before.data_ptr<float>());
  EXPECT_LT(relative_difference(p.y, expected), tolerance());
}

TEST_P(PackedMatrixTest, GivesARowTheSameBitsWhateverStandsBesideIt) {
  Product p = product();
  p.multiply();
  const Tensor alone = at::empty({1, p.out});
  for (const std::int64_t row : {p.rows - 1, p.rows / 2}) {
    p.packed.multiply(p.x[row].data_ptr<float>(), 1, alone.data_ptr<float>());
    EXPECT_TRUE(alone[0].equal(p.y[row]));
  }
}

TEST_P(PackedMatrixTest, WritesNothingBesideItsOutput) {
  Product p = product();
  const Tensor wide = at::full({p.rows * p.out + 64}, 7.0F);
  p.packed.multiply(p.x.data_ptr<float>(), p.rows, wide.data_ptr<float>());
  EXPECT_TRUE(wide.narrow(0, p.rows * p.out, 64).eq(7.0F).all().item<bool>());
  p.multiply();
  EXPECT_TRUE(wide.narrow(0, 0, p.rows * p.out).view({p.rows, p.out}).equal(p.y));
}

std::string name_of(const testing::TestParamInfo<std::tuple<Variant, Shape>>& given) {
  const auto& [rows, in, out] = std::get<1>(given.param);
  return fmt::format("{}x{}x{}", rows, in, out);
}

auto shapes_with(const ProductKernel* kernel, double tolerance) {
  return testing::Combine(testing::Values(Variant{kernel, tolerance}),
                          testing::Values(Shape{1, 1, 1}, Shape{6, 8, 16}, Shape{5, 33, 17}, Shape{13, 512, 48},
                                          Shape{97, 513, 31}, Shape{200, 1100, 80}));
}

#if !defined(ATTUNE_PORTABLE)
template <typename Kernel>
const ProductKernel* if_runs(bool runs, Kernel kernel) {
  return runs ? &kernel() : nullptr;
}

// fp32 keeps 24 bits, bf16 8, and bytes of x and w are each off by half of a 127th.
INSTANTIATE_TEST_SUITE_P(Avx2, PackedMatrixTest, shapes_with(if_runs(processor().avx2, avx2_product), 2e-6), name_of);
INSTANTIATE_TEST_SUITE_P(Avx512, PackedMatrixTest, shapes_with(if_runs(processor().avx512, avx512_product), 2e-6),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Bf16, PackedMatrixTest, shapes_with(if_runs(processor().bf16, bf16_product), 1e-2), name_of);
INSTANTIATE_TEST_SUITE_P(Int8, PackedMatrixTest, shapes_with(if_runs(processor().int8, int8_product), 3e-2), name_of);
#else
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PackedMatrixTest);
#endif

TEST(Int8Product, OfRowsWithoutNumbersIsZero) {
  if (product_kernel(ProductType::kInt8) == nullptr) GTEST_SKIP() << "this processor has no dot products of bytes";
  const PackedMatrix packed(*product_kernel(ProductType::kInt8), at::zeros({33, 70}));
  const Tensor x = at::zeros({2, 70}), y = at::full({2, 33}, 7.0F);
  packed.multiply(x.data_ptr<float>(), 2, y.data_ptr<float>());
  EXPECT_TRUE(y.eq(0.0F).all().item<bool>());
}

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

#include "attune/tensors/layers.h"

#include <cmath>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/tensors/linear.h"
#include "attune/tensors/processor.h"
#include "attune/tensors/product_kernel.h"
#include "tests/support/gradient_check.h"

namespace attune {
namespace {

using testing_support::check_gradient;

Tensor draw(at::IntArrayRef shape, const char* purpose, double deviation = 1.0) {
  KeyedRandom random(11, purpose);
  return normal(shape, 0.0, deviation, random).to(at::kDouble);
}

TEST(Activations, AreWhatTheirNamesSay) {
  const Tensor x = draw({64}, "x", 3.0);
  const auto each = [&](auto function) {
    Tensor y = at::empty_like(x);
    for (std::int64_t i = 0; i < 64; ++i) y[i] = function(x[i].item<double>());
    return y;
  };
  const auto logistic = [](double v) { return 1.0 / (1.0 + std::exp(-v)); };
  EXPECT_TRUE(at::allclose(activate(x, Activation::kGelu),
                           each([](double v) { return 0.5 * v * (1.0 + std::erf(v / std::sqrt(2.0))); }), 1e-12,
                           1e-12));
  EXPECT_TRUE(at::allclose(activate(x, Activation::kQuickGelu), each([&](double v) { return v * logistic(1.702 * v); }),
                           1e-12, 1e-12));
}

TEST(Gradients, OfActivations) {
  for (const auto activation : {Activation::kGelu, Activation::kQuickGelu}) {
    check_gradient([&](const auto& in) { return activate(in[0], activation); }, {draw({3, 7}, "a")});
  }
}

TEST(Gradients, OfLayerNorm) {
  check_gradient(
      [](const auto& in) {
        return LayerNorm{in[1], in[2], 1e-5}(in[0]);
      },
      {draw({4, 6}, "x"), draw({6}, "w"), draw({6}, "b")});
}

TEST(Gradients, OfAttention) {
  const Tensor q = draw({2, 2, 3, 4}, "q");
  const Tensor k = draw({2, 2, 5, 4}, "k");
  const Tensor v = draw({2, 2, 5, 4}, "v");
  const Tensor mask = at::full({3, 5}, -INFINITY, at::kDouble).triu(3);
  check_gradient([](const auto& in) { return attend(in[0], in[1], in[2]); }, {q, k, v});
  check_gradient([&](const auto& in) { return attend(in[0], in[1], in[2], mask); }, {q, k, v});
  check_gradient([](const auto& in) { return attend(in[0], in[0], in[1], {}, true); }, {k, v});
}

TEST(Gradients, OfLinearLayers) {
  const Tensor x = draw({3, 4, 5}, "x");
  const Tensor weight = draw({6, 5}, "w");
  const Tensor bias = draw({6}, "b");
  check_gradient([](const auto& in) { return Linear{in[1], in[2]}(in[0]); }, {x, weight, bias});
  const FrozenLinear frozen(weight, bias);
  check_gradient([&](const auto& in) { return frozen(in[0]); }, {x});
  for (const auto activation : {Activation::kGelu, Activation::kQuickGelu}) {
    check_gradient([&](const auto& in) { return frozen.activated(in[0], activation); }, {x});
  }
}

TEST(Gradients, OfPackedLinearLayersInSinglePrecision) {
  const FrozenLinear frozen(draw({16, 12}, "w").to(at::kFloat), draw({16}, "b").to(at::kFloat));
  check_gradient([&](const auto& in) { return frozen(in[0]); }, {draw({24, 12}, "x").to(at::kFloat)},
                 {.step = 1e-2, .tolerance = 1e-3});
}

struct FrozenLinearTest : testing::Test {
  Tensor weight = draw({48, 32}, "w").to(at::kFloat);
  Tensor bias = draw({48}, "b").to(at::kFloat);
  FrozenLinear frozen{weight, bias};
};

TEST_F(FrozenLinearTest, EqualsTheDenseProductForAnyNumberOfRows) {
  for (const std::int64_t rows : {1, 7, 8, 40, 300}) {
    const Tensor x = draw({rows, 32}, "x").to(at::kFloat);
    const Tensor expected = at::linear(x, weight, bias);
    EXPECT_TRUE(at::allclose(frozen(x), expected, 1e-5, 1e-5)) << rows;
    for (const auto activation : {Activation::kGelu, Activation::kQuickGelu}) {
      EXPECT_TRUE(at::allclose(frozen.activated(x, activation), activate(expected, activation), 1e-5, 1e-5)) << rows;
    }
    EXPECT_TRUE(at::allclose(FrozenLinear(weight)(x), at::linear(x, weight), 1e-5, 1e-5)) << rows;
  }
}

TEST_F(FrozenLinearTest, HoldsProductsIn16BitsAndEverythingElseAsItComes) {
  const FrozenLinear half(weight, bias, at::kBFloat16);
  EXPECT_EQ(half.weight().scalar_type(), at::kBFloat16);
  Tensor x = draw({40, 32}, "x").to(at::kFloat).set_requires_grad(true);
  const Tensor residual = draw({40, 48}, "r").to(at::kFloat);
  const auto check = [&](const Tensor& found, const Tensor& expected) {
    EXPECT_EQ(found.scalar_type(), at::kFloat);
    const double error = (found - expected).norm().item<double>() / expected.norm().item<double>();
    EXPECT_GT(error, 1e-6);
    EXPECT_LT(error, 1e-2);  // a bf16 number has 8 bits
  };
  for (const bool activated : {false, true}) {
    const auto run = [&](const FrozenLinear& layer) {
      const Tensor y = activated ? layer.activated(x, Activation::kQuickGelu) : layer.added(x, residual);
      y.sum().backward();
      const Tensor gradient = x.grad().clone();
      x.mutable_grad().reset();
      return std::pair{y.detach(), gradient};
    };
    const auto found = run(half), expected = run(frozen);
    check(found.first, expected.first);
    check(found.second, expected.second);
  }
}

TEST_F(FrozenLinearTest, OfBytesGivesFeaturesButNoGradients) {
  if (product_kernel(ProductType::kInt8) == nullptr) {
    EXPECT_THROW(FrozenLinear(weight, bias, at::kChar), Error);
    return;
  }
  const FrozenLinear bytes(weight, bias, at::kChar);
  Tensor x = draw({40, 32}, "x").to(at::kFloat);
  x.select(0, 3).mul_(1000);  // scales are a row's own
  const Tensor found = bytes(x), expected = frozen(x);
  const Tensor errors = (found - expected).norm(2, 1) / expected.norm(2, 1);
  EXPECT_LT(errors.max().item<float>(), 2e-2);
  EXPECT_GT(errors.min().item<float>(), 1e-4);
  x.set_requires_grad(true);
  EXPECT_THROW(bytes(x), Error);
}

TEST_F(FrozenLinearTest, TakesRowsThatDoNotLieTogether) {
  const Tensor x = draw({32, 90}, "x").to(at::kFloat).t();
  EXPECT_TRUE(at::allclose(frozen(x), at::linear(x, weight, bias), 1e-5, 1e-5));
  Tensor leaf = draw({20, 32}, "y").to(at::kFloat).set_requires_grad(true);
  frozen(leaf).sum().backward();
  EXPECT_TRUE(at::allclose(leaf.grad(), at::ones({20, 48}).matmul(weight), 1e-5, 1e-5));
}

TEST_F(FrozenLinearTest, NeverTrainsItsWeights) {
  Tensor trained = weight.clone().set_requires_grad(true);
  const FrozenLinear layer(trained);
  EXPECT_FALSE(layer(draw({9, 32}, "x").to(at::kFloat)).requires_grad());
  Tensor x = draw({9, 32}, "x").to(at::kFloat).set_requires_grad(true);
  layer(x).sum().backward();
  EXPECT_FALSE(trained.grad().defined());
  EXPECT_TRUE(x.grad().defined());
}

TEST_F(FrozenLinearTest, MayBeFirstUsedByManyThreads) {
  const Tensor x = draw({64, 32}, "x").to(at::kFloat);
  const Tensor expected = at::linear(x, weight, bias);
  std::vector<Tensor> found(4);
  std::vector<std::thread> threads;
  for (auto& result : found) threads.emplace_back([&] { result = frozen(x); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : found) EXPECT_TRUE(at::allclose(result, expected, 1e-5, 1e-5));
}

TEST_F(FrozenLinearTest, OutlivesItselfInAGraph) {
  Tensor x = draw({16, 32}, "x").to(at::kFloat).set_requires_grad(true);
  Tensor y;
  {
    const FrozenLinear short_lived(weight.clone());
    y = short_lived(x).sum();
  }
  y.backward();
  EXPECT_TRUE(at::allclose(x.grad(), at::ones({16, 48}).matmul(weight), 1e-5, 1e-5));
}

}  // namespace
}  // namespace attune

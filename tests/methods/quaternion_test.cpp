#include "attune/methods/quaternion.h"

#include <gtest/gtest.h>

#include "attune/base/error.h"

namespace attune {
namespace {

double largest(const Tensor& difference) {
  return difference.abs().max().item<double>();
}

QuaternionLinear some_layer(std::int64_t in, std::int64_t out) {
  KeyedRandom random(2, "layer");
  return QuaternionLinear::start(in, out, random);
}

/// The left Hamilton product of one quaternion w with another.
std::array<double, 4> hamilton(const std::array<double, 4>& w, const std::array<double, 4>& x) {
  return {w[0] * x[0] - w[1] * x[1] - w[2] * x[2] - w[3] * x[3], w[0] * x[1] + w[1] * x[0] + w[2] * x[3] - w[3] * x[2],
          w[0] * x[2] - w[1] * x[3] + w[2] * x[0] + w[3] * x[1], w[0] * x[3] + w[1] * x[2] - w[2] * x[1] + w[3] * x[0]};
}

TEST(Quaternion, OneWeightIsTheHamiltonProductAndKeepsNormsMultiplicative) {
  const QuaternionLinear layer = some_layer(4, 4);
  const Tensor input = at::tensor({0.3, -1.2, 0.7, 2.0}).to(at::kFloat);
  const Tensor output = layer(input);
  std::array<double, 4> w{}, x{};
  const Tensor* parts[] = {&layer.r, &layer.i, &layer.j, &layer.k};
  double size = 0;
  for (std::size_t n = 0; n < 4; ++n) {
    w[n] = parts[n]->item<double>();
    x[n] = input[static_cast<std::int64_t>(n)].item<double>();
    size += w[n] * w[n];
  }
  const std::array<double, 4> expected = hamilton(w, x);
  for (std::size_t n = 0; n < 4; ++n) {
    EXPECT_NEAR(output[static_cast<std::int64_t>(n)].item<double>(), expected[n], 1e-6) << n;
  }
  EXPECT_NEAR(output.norm().item<double>(), std::sqrt(size) * input.norm().item<double>(), 1e-5);
}

TEST(Quaternion, ManyWeightsSumOverTheInputsQuaternions) {
  const QuaternionLinear layer = some_layer(12, 8);
  KeyedRandom random(3, "input");
  const Tensor input = normal({5, 12}, 0, 1, random);
  const Tensor output = layer(input);
  for (std::int64_t row = 0; row < 5; ++row) {
    for (std::int64_t o = 0; o < 2; ++o) {
      std::array<double, 4> sum{};
      for (std::int64_t a = 0; a < 3; ++a) {
        const auto entry = [&](const Tensor& part) { return part[a][o].item<double>(); };
        const auto value = [&](std::int64_t quarter) { return input[row][quarter * 3 + a].item<double>(); };
        const auto one = hamilton({entry(layer.r), entry(layer.i), entry(layer.j), entry(layer.k)},
                                  {value(0), value(1), value(2), value(3)});
        for (std::size_t n = 0; n < 4; ++n) sum[n] += one[n];
      }
      for (std::int64_t n = 0; n < 4; ++n) {
        EXPECT_NEAR(output[row][n * 2 + o].item<double>(), sum[static_cast<std::size_t>(n)], 1e-5);
      }
    }
  }
}

TEST(Quaternion, AnInputWhoseFirstHalfIsZeroTakesTheShortWay) {
  const QuaternionLinear layer = some_layer(16, 12);
  KeyedRandom random(4, "half");
  const Tensor half = normal({3, 2, 8}, 0, 1, random);
  EXPECT_LT(largest(layer.of_second_half(half) - layer(at::cat({at::zeros_like(half), half}, 2))), 1e-6);
}

TEST(Quaternion, StartsWithTheSizeOfGlorotsAndAQuarterOfTheWeights) {
  const QuaternionLinear layer = some_layer(1024, 512);
  EXPECT_EQ(layer.r.numel() + layer.i.numel() + layer.j.numel() + layer.k.numel(), 131072);
  EXPECT_EQ(layer.bias.numel(), 512);
  EXPECT_EQ(largest(layer.bias), 0);
  // Each weight has a chi length with four degrees of freedom: its mean square is 4 sigma^2.
  const double sigma = 1.0 / std::sqrt(2.0 * (256 + 128));
  const double square = (layer.r.pow(2) + layer.i.pow(2) + layer.j.pow(2) + layer.k.pow(2)).mean().item<double>();
  EXPECT_NEAR(square / (4 * sigma * sigma), 1, 0.02);
  KeyedRandom random(1, "x");
  EXPECT_THROW(QuaternionLinear::start(10, 8, random), Error);
}

}  // namespace
}  // namespace attune

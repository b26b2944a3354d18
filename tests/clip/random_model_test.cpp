#include "attune/clip/random_model.h"

#include <gtest/gtest.h>

namespace attune {
namespace {

TEST(RandomModel, ComputesInTheTypeThatWasAskedFor) {
  ClipConfig config;
  config.text = {.width = 32, .layers = 2, .heads = 4, .hidden = 64, .vocabulary = 4096, .context_length = 32};
  config.joint_width = 24;
  const ClipModel full = random_model(config, 1, {.image = false});
  const ClipModel half = random_model(config, 1, {.image = false, .products = at::kBFloat16});
  EXPECT_EQ(half.products, at::kBFloat16);
  const Tensor expected = encode_sentences(full, {"a photo of a dog."});
  const double error = (encode_sentences(half, {"a photo of a dog."}) - expected).norm().item<double>();
  EXPECT_GT(error, 1e-6);
  EXPECT_LT(error, 0.1);
}

}  // namespace
}  // namespace attune

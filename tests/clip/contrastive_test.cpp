#include "attune/clip/contrastive.h"

#include <gtest/gtest.h>

namespace attune {
namespace {

TEST(ContrastiveParity, LossAndGradientsEqualTorchsWithSharedTargets) {
  const TensorMap stored = load_tensors(ATTUNE_TEST_DATA "/contrastive.safetensors");
  const Tensor images = stored.at("images").clone().requires_grad_();
  const Tensor texts = stored.at("texts").clone().requires_grad_();
  const Tensor scale = stored.at("scale").clone().requires_grad_();
  const Tensor loss = contrastive_loss(unit_rows(images), unit_rows(texts), stored.at("keys"), scale);
  EXPECT_TRUE(at::allclose(loss.reshape({1}), stored.at("loss"), 1e-5, 1e-6));
  loss.backward();
  EXPECT_TRUE(at::allclose(images.grad(), stored.at("images.gradient"), 1e-4, 1e-6));
  EXPECT_TRUE(at::allclose(texts.grad(), stored.at("texts.gradient"), 1e-4, 1e-6));
  EXPECT_TRUE(at::allclose(scale.grad(), stored.at("scale.gradient"), 1e-4, 1e-6));
}

TEST(ContrastiveParity, WithDistinctKeysItIsClipsOwnLoss) {
  const TensorMap stored = load_tensors(ATTUNE_TEST_DATA "/contrastive.safetensors");
  const Tensor loss = contrastive_loss(unit_rows(stored.at("images")), unit_rows(stored.at("texts")),
                                       at::arange(6, at::kLong), stored.at("scale"));
  EXPECT_TRUE(at::allclose(loss.reshape({1}), stored.at("plain"), 1e-5, 1e-6));
}

TEST(Contrastive, MeanPairwiseCosineLeavesTheDiagonalOut) {
  const TensorMap stored = load_tensors(ATTUNE_TEST_DATA "/contrastive.safetensors");
  EXPECT_NEAR(mean_pairwise_cosine(unit_rows(stored.at("images"))), stored.at("cosine").item<double>(), 1e-5);
  EXPECT_NEAR(mean_pairwise_cosine(at::eye(4)), 0.0, 1e-6);
  EXPECT_NEAR(mean_pairwise_cosine(unit_rows(at::ones({5, 3}))), 1.0, 1e-5);
}

}  // namespace
}  // namespace attune

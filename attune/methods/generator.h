#pragma once

#include <cstdint>
#include <vector>

#include "attune/optim/optimiser.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// SPG's generator G(z, f) (Bai et al. 2024, "Soft Prompt Generation for Domain Generalization"; sizes from the
/// authors' release): noise z and a normalised image feature f become a prompt,
///   [z ; f] -> 128 -> 256 -> 512 -> 1024 -> M * width,
/// LeakyReLU(0.2) between the layers, batch normalisation before it in all but the first, tanh at the end. Tensors are
/// named by their place in the release: "0.weight", "3.running_mean".
class PromptGenerator {
 public:
  static constexpr std::int64_t kNoise = 100;
  /// Of batch normalisation; the release passes 0.8 in this place, and its results depend on it.
  static constexpr double kNormEpsilon = 0.8;

  /// He-uniform weights, biases within 1 / sqrt(in).
  PromptGenerator(std::int64_t feature_width, std::int64_t prompt_length, std::int64_t prompt_width,
                  KeyedRandom& random);

  /// noise [B, 100], features [B, d] -> prompts [B, M, width] with entries in (-1, 1). In training the statistics are
  /// the batch's and the running ones are updated: B must be at least 2, or Error is thrown.
  Tensor operator()(const Tensor& noise, const Tensor& features, bool training) const;

  const TensorMap& parameters() const { return parameters_; }
  /// Parameters and running statistics, detached, sharing memory.
  TensorMap state() const;
  void to(at::Device device);

 private:
  std::int64_t prompt_length_, prompt_width_;
  TensorMap parameters_;
  TensorMap statistics_;
};

/// SPG's discriminator D(v, f): is v a learned prompt of the domain of the image with feature f?
///   [v ; f] -> 512 -> 512 -> 512 -> 1, LeakyReLU(0.2), dropout before it in the second and third layer.
class PromptDiscriminator {
 public:
  static constexpr std::int64_t kHidden = 512;
  static constexpr double kDropout = 0.4;

  PromptDiscriminator(std::int64_t feature_width, std::int64_t prompt_length, std::int64_t prompt_width,
                      KeyedRandom& random);

  /// prompts [B, M, width], features [B, d], masks [2, B, 512] of the two dropouts -> [B, 1]. `frozen`: gradients reach
  /// the prompts alone.
  Tensor operator()(const Tensor& prompts, const Tensor& features, const Tensor& masks, bool frozen = false) const;

  const TensorMap& parameters() const { return parameters_; }
  void to(at::Device device);

 private:
  TensorMap parameters_;
};

/// Dropout masks [2, B, 512] whose entries are 0 or 1 / (1 - kDropout).
Tensor dropout_masks(std::int64_t batch, KeyedRandom& random);

}  // namespace attune

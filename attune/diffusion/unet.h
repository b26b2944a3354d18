#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attune/clip/weights.h"
#include "attune/diffusion/layers.h"
#include "attune/diffusion/unet_config.h"

namespace attune {

template <class L>
struct CrossAttention {
  L q, k, v;  // no bias
  L out;
};

/// x + self(norm1 x), + cross(norm2 x, hidden), + project(a * gelu(b)) with (a, b) = widen(norm3 x).
template <class L>
struct ConditionedBlock {
  LayerNorm norm1, norm2, norm3;
  CrossAttention<L> self, cross;
  L widen, project;
};

/// Transformer blocks over the cells of a map, between two outer layers, added to the map.
template <class L>
struct MapTransformer {
  GroupNorm norm;
  L in, out;
  std::vector<ConditionedBlock<L>> blocks;
  std::int64_t heads = 1;
};

template <class L>
struct UNetStage {
  std::vector<ResidualBlock<L>> residuals;
  std::vector<MapTransformer<L>> transformers;  // one a residual block, or none; the middle stage's stands between two
  std::optional<Conv> resample;                 // none in the last stage of either way
};

/// The parameters of a UNet; L is Linear where they train, FrozenLinear where they don't.
template <class L>
struct UNetWeights {
  Conv in;
  L time1, time2;
  std::vector<UNetStage<L>> down, up;
  std::optional<UNetStage<L>> middle;
  GroupNorm norm;
  Conv out;
};

/// A network that says what noise lies over maps (Ho et al. 2020), steered by rows that its cells attend to (Rombach et
/// al. 2022). Thread-safe.
class UNet {
 public:
  virtual ~UNet() = default;
  virtual const UNetConfig& config() const = 0;
  /// maps [B, in_channels, H, W]; steps [B] or [1], the time of each; hidden [B or 1, n, hidden_width] -> [B,
  /// out_channels, H, W]: noise, velocity or clean maps, as the model's schedule says. Gradients reach maps, hidden
  /// and, where they train, the weights. Throws Error on other shapes.
  virtual Tensor predict(const Tensor& maps, const Tensor& steps, const Tensor& hidden) const = 0;
};

/// A UNet whose weights train.
class TrainableUNet final : public UNet {
 public:
  /// `source` with diffusers' names and shapes (see random_unet_tensors). Throws Error as NamedTensors::take.
  TrainableUNet(const UNetConfig& config, const NamedTensors& source);

  const UNetConfig& config() const override { return config_; }
  Tensor predict(const Tensor& maps, const Tensor& steps, const Tensor& hidden) const override;

  /// The leaves that train, by diffusers' names; pointwise convolutions are matrices [out, in].
  const TensorMap& parameters() const { return leaves_; }
  /// Copies values over the leaves. Throws Error that names the first tensor that is missing or does not fit.
  void load_parameters(const TensorMap& parameters);

 private:
  UNetConfig config_;
  TensorMap leaves_;
  UNetWeights<Linear> weights_;
};

/// Frozen, with weights that may share the memory of `source`.
std::shared_ptr<const UNet> make_frozen_unet(const UNetConfig& config, const NamedTensors& source);

/// Name and shape of every tensor of a unet/ folder, as diffusers has them.
std::map<std::string, std::vector<std::int64_t>> unet_shapes(const UNetConfig& config);

/// Random tensors under these names, for a training from nothing: uniform within 1 / sqrt(inputs of a layer), biases
/// alike, as PyTorch begins; the last layer of each residual and transformer branch and of the whole a hundredth of
/// that (inferred: Dhariwal and Nichol 2021 begin with zeros), so that the network begins close to the identity.
TensorMap random_unet_tensors(const UNetConfig& config, std::uint64_t seed);

/// `parameters` in the shapes of the file: pointwise convolutions [out, in] as [out, in, 1, 1].
TensorMap unet_file_tensors(const UNetConfig& config, const TensorMap& parameters);

/// Sines and cosines of times [N] at width / 2 frequencies: [N, width].
Tensor time_features(const Tensor& steps, std::int64_t width, bool flip_sin_to_cos, double freq_shift);

}  // namespace attune

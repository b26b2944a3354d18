#pragma once

#include <cstdint>
#include <filesystem>

#include "attune/clip/weights.h"
#include "attune/images/preprocess.h"

namespace attune {

/// A masked autoencoder (He et al. 2022).
struct MaeConfig {
  std::int64_t image_size = 112, patch = 16;
  BlockShape encoder{128, 512, 4, 4, Activation::kGelu, 1e-6};
  BlockShape decoder{64, 256, 2, 4, Activation::kGelu, 1e-6};
  double mask_ratio = 0.75;
  bool normalise_targets = true;  // each patch by its own mean and deviation ("norm_pix_loss")

  std::int64_t cells() const { return (image_size / patch) * (image_size / patch); }
  std::int64_t visible() const;  // patches that the encoder sees, rounded down as the authors' code does
};

/// Throws UsageError where a picture is not made of whole patches, fixed positions do not fit the widths, or nothing is
/// masked or visible.
void check_mae(const MaeConfig& config);

/// What one batch gives.
struct MaeForward {
  Tensor loss;       // mean squared error over the masked patches
  Tensor predicted;  // [B, masked, patch * patch * 3], pixels of a patch row by row, channels last
};

/// The autoencoder with weights that train.
class Mae {
 public:
  /// Random: Xavier-uniform matrices, tokens of deviation 0.02, fixed sine and cosine positions, as the paper's code.
  Mae(const MaeConfig& config, std::uint64_t seed);
  /// From a vit_mae folder's tensors. Throws Error as NamedTensors::take.
  Mae(const MaeConfig& config, const NamedTensors& source);

  const MaeConfig& config() const { return config_; }
  /// pixels [B, 3, size, size]; order [B, cells] int64: of each picture the patches in a random order, the visible ones
  /// first.
  MaeForward forward(const Tensor& pixels, const Tensor& order) const;
  /// The patches of `order` beyond the visible ones [B, masked, patch * patch * 3], as `predicted` has them.
  Tensor hidden_patches(const Tensor& pixels, const Tensor& order) const;

  /// The leaves that train, by name.
  TensorMap parameters() const;
  /// Throws Error that names the first tensor that is missing or does not fit.
  void load_parameters(const TensorMap& parameters);
  const Tensor& positions() const { return positions_; }
  const Tensor& decoder_positions() const { return decoder_positions_; }

 private:
  Tensor targets(const Tensor& pixels, const Tensor& order) const;
  Tensor encode(const Tensor& pixels, const Tensor& visible) const;
  Tensor decode(const Tensor& encoded, const Tensor& visible, const Tensor& masked) const;

  MaeConfig config_;
  Linear patch_;
  Tensor class_token_;  // [1, 1, width]
  Tensor positions_;    // [1, 1 + cells, width], fixed
  Transformer<Linear> encoder_;
  LayerNorm encoder_norm_;
  Linear embed_;
  Tensor mask_token_;         // [1, 1, decoder width]
  Tensor decoder_positions_;  // [1, 1 + cells, decoder width], fixed
  Transformer<Linear> decoder_;
  LayerNorm decoder_norm_;
  Linear predict_;
};

/// Fixed positions [1, 1 + side * side, width]: nothing for the class token; sines and cosines of the column in the
/// first half, of the row in the second.
Tensor sine_positions(std::int64_t side, std::int64_t width);

/// Values named as Mae::parameters() names them under the names of a transformers ViTMAEForPreTraining.
TensorMap hugging_face_mae(const MaeConfig& config, const TensorMap& values);

/// The patches [B, n, patch * patch * 3] (see MaeForward) at the cells [B, n] of pictures put over `pixels`
/// [B, 3, size, size].
Tensor put_patches(const Tensor& pixels, const Tensor& patches, const Tensor& cells, std::int64_t patch);

/// Writes config.json, model.safetensors (fp32) and preprocessor_config.json, such that transformers and
/// load_domain_model read the folder.
void write_mae_folder(const std::filesystem::path& folder, const Mae& mae, const Preprocess& preprocess);

}  // namespace attune

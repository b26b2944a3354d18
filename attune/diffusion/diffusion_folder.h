#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "attune/diffusion/sampler.h"
#include "attune/diffusion/text_encoder.h"
#include "attune/diffusion/unet.h"
#include "attune/diffusion/vae.h"

namespace attune {

constexpr double kLatentGuidance = 7.5;  // as diffusers has it
/// Estimates of pixels are cut off at black and white in every step: more makes them dark and garish
/// (docs/generation.md).
constexpr double kPixelGuidance = 1.0;

/// What the JSON files of a folder in diffusers' layout say: model_index.json, unet/, scheduler/ and, where there is
/// one, vae/ and text_encoder/ with tokenizer/.
struct DiffusionDescription {
  std::filesystem::path folder;
  std::string name;  // the folder's
  UNetConfig unet;
  std::optional<VaeConfig> vae;    // none: pixels themselves are denoised
  std::optional<TextConfig> text;  // none: only embeddings steer
  Json scheduler;                  // scheduler_config.json

  /// Side of the pictures that the model was trained on.
  std::int64_t picture_size() const { return unet.sample_size * (vae ? vae->factor() : 1); }
  /// How far pictures are guided where nothing else is said.
  double usual_guidance() const { return vae ? kLatentGuidance : kPixelGuidance; }
  /// The folder's own scheduler, or the wanted one on the folder's schedule.
  SamplerConfig sampler(std::optional<SamplerKind> wanted = std::nullopt) const;
  NoiseConfig noise() const;
};

/// Throws Error that names file and member where something is missing, of the wrong type, does not fit what is beside
/// it, or asks for another architecture.
DiffusionDescription describe_diffusion_folder(const std::filesystem::path& folder);
/// Whether a folder has a model_index.json.
bool is_diffusion_folder(const std::filesystem::path& folder);
/// The folder itself, or that of the model that ships under this name; what is neither comes back as it is.
std::filesystem::path resolve_diffusion_folder(const std::string& name);

/// What of a model is loaded.
struct DiffusionOptions {
  bool unet = true;
  bool train_unet = false;  // with weights that train; else frozen
  bool vae = true;          // where the folder has one
  bool text = false;
  std::filesystem::path hashes;  // folder that remembers the hashes of weight files; empty: none
};

/// A model that makes pictures from noise, as far as it was asked for.
struct DiffusionModel : DiffusionDescription {
  std::shared_ptr<const UNet> frozen_unet;
  std::shared_ptr<TrainableUNet> trainable_unet;
  std::shared_ptr<const Vae> autoencoder;      // null: not asked for, or pixels themselves are denoised
  std::shared_ptr<const TextEncoder> encoder;  // null unless asked for
  std::filesystem::path hashes;

  const UNet& network() const;
  /// SHA-256 over the weight files of unet/; adapters remember it. Computed on the first call.
  const std::string& weight_hash() const;

  /// What noise is added to: pixels [B, 3, size, size] within -1 to 1 -> maps. With an autoencoder the scaled latents;
  /// `noise` [B, latent channels, h, w] draws them from their distribution, without it they are its mean.
  Tensor maps_of_pixels(const Tensor& pixels, const Tensor& noise = {}) const;
  /// And back, without gradients.
  Tensor pixels_of_maps(const Tensor& maps) const;

  mutable std::string hash_;
};

/// Reads safetensors only. Throws Error as describe_diffusion_folder and NamedTensors::take; UsageError where a part is
/// asked for that the folder does not have.
DiffusionModel load_diffusion_model(const std::filesystem::path& folder, const DiffusionOptions& options = {});

/// What a folder is written from.
struct DiffusionParts {
  UNetConfig unet;
  TensorMap parameters;  // as TrainableUNet names them
  /// A diffusion folder whose vae/, text_encoder/, tokenizer/ and scheduler/ are copied, as they are; or empty.
  std::filesystem::path others;
  /// In place of `others`: a Hugging Face CLIP folder whose text side steers (empty: none), and the scheduler.
  std::filesystem::path clip;
  SamplerConfig sampler;
  at::ScalarType type = at::kFloat;  // of the numbers written: at::kFloat or at::kHalf
};

/// Writes a folder that load_diffusion_model and, where it has all of Stable Diffusion's parts, diffusers read. It
/// appears whole or not at all. Throws Error where `folder` is there already.
void write_diffusion_folder(const std::filesystem::path& folder, const DiffusionParts& parts);

}  // namespace attune

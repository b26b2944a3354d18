#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attune/clip/weights.h"
#include "attune/diffusion/vae_config.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// The normal distribution of latents [B, latent channels, h, w] that a picture is encoded as.
struct Latents {
  Tensor mean;
  Tensor log_variance;  // within -30 to 20
};

/// A frozen autoencoder between pictures and the maps that are denoised (Rombach et al. 2022). Thread-safe.
class Vae {
 public:
  /// `source` with diffusers' names, of which attention may have the older ones (query, key, value, proj_attn). Throws
  /// Error as NamedTensors::take.
  Vae(const VaeConfig& config, const NamedTensors& source);
  Vae(Vae&&) noexcept;
  ~Vae();

  const VaeConfig& config() const;
  /// pixels [B, 3, H, W] within -1 to 1; factor() divides both sides.
  Latents encode(const Tensor& pixels) const;
  /// Latents as they leave the encoder, unscaled, -> pixels [B, 3, H, W] about within -1 to 1.
  Tensor decode(const Tensor& latents) const;

 private:
  struct Parts;
  std::unique_ptr<const Parts> parts_;
};

/// Name and shape of every tensor of a vae/ folder, by diffusers' newer names.
std::map<std::string, std::vector<std::int64_t>> vae_shapes(const VaeConfig& config);

}  // namespace attune

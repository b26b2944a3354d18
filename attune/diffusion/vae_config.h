#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/base/json.h"

namespace attune {

/// The shape of a diffusers AutoencoderKL.
struct VaeConfig {
  std::int64_t in_channels = 3, out_channels = 3, latent_channels = 4;
  std::vector<std::int64_t> channels{128, 256, 512, 512};  // finest stage first
  std::int64_t layers = 2, groups = 32;
  double scaling = 0.18215;  // latents are multiplied by it before noise is added
  double shift = 0;          // and first moved by this
  bool quant = true, post_quant = true;
  bool middle_attention = true;

  /// Pixels a side of a latent cell.
  std::int64_t factor() const { return std::int64_t{1} << (channels.size() - 1); }
};

/// Reads vae/config.json; `where` names it in errors.
VaeConfig read_vae_config(const Json& json, const std::string& where);

}  // namespace attune

#pragma once

#include <optional>
#include <string>

#include "attune/base/json.h"
#include "attune/diffusion/unet_config.h"
#include "attune/diffusion/vae_config.h"

namespace attune {

/// Throws Error that names `where` unless a model_index.json is of a pipeline whose network is the one that is read.
void check_model_index(const Json& index, const std::string& where);

/// The index of a folder with the parts that are named, and a scheduler of this class.
Json model_index_json(bool latent, bool text, const std::string& scheduler);

/// Throws Error that names `where` unless the UNet denoises what the autoencoder makes or, without one, pixels.
void check_channels(const UNetConfig& unet, const std::optional<VaeConfig>& vae, const std::string& where);

}  // namespace attune

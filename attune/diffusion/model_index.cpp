#include "attune/diffusion/model_index.h"

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

void check_model_index(const Json& index, const std::string& where) {
  const auto type = json_or<std::string>(index, "_class_name", "StableDiffusionPipeline", where);
  if (type != "StableDiffusionPipeline" && type != "AttunePixelDiffusion") {
    throw Error(fmt::format("{}: expected '_class_name' StableDiffusionPipeline or AttunePixelDiffusion, found '{}'",
                            where, type));
  }
}

Json model_index_json(bool latent, bool text, const std::string& scheduler) {
  const Json none = Json::array({nullptr, nullptr});
  // Without an autoencoder the folder is no pipeline of diffusers, but its parts are models of diffusers.
  Json index = {{"_class_name", latent ? "StableDiffusionPipeline" : "AttunePixelDiffusion"},
                {"unet", {"diffusers", "UNet2DConditionModel"}},
                {"scheduler", {"diffusers", scheduler}}};
  if (latent) index["vae"] = {"diffusers", "AutoencoderKL"};
  if (text) index["text_encoder"] = {"transformers", "CLIPTextModel"};
  if (text) index["tokenizer"] = {"transformers", "CLIPTokenizer"};
  if (latent) index["safety_checker"] = none;
  if (latent) index["feature_extractor"] = none;
  return index;
}

void check_channels(const UNetConfig& unet, const std::optional<VaeConfig>& vae, const std::string& where) {
  const std::int64_t channels = vae ? vae->latent_channels : 3;
  if (unet.in_channels != channels || unet.out_channels != channels) {
    throw Error(fmt::format("{}: expected a UNet from {} channels to {}, as {}, found {} to {}", where, channels,
                            channels, vae ? "the latents of vae/ have" : "pixels without a vae/ have", unet.in_channels,
                            unet.out_channels));
  }
}

}  // namespace attune

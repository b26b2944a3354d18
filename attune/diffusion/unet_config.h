#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/base/json.h"

namespace attune {

/// The shape of a conditional denoising UNet, as diffusers' UNet2DConditionModel has it. Lists have one entry a stage
/// of the way down; the way up mirrors them.
struct UNetConfig {
  std::int64_t sample_size = 64;  // side of the maps that the model was trained on
  std::int64_t in_channels = 4, out_channels = 4;
  std::vector<std::int64_t> channels{320, 640, 1280, 1280};
  std::vector<bool> attention_down{true, true, true, false};  // does the stage attend?
  std::vector<bool> attention_up{false, true, true, true};    // from the coarsest stage on
  bool middle = true;                                         // a middle stage, which attends
  std::vector<std::int64_t> layers{2, 2, 2, 2};               // residual blocks
  std::vector<std::int64_t> heads{8, 8, 8, 8};                // "attention_head_dim", which is a number of heads
  std::vector<std::int64_t> transformer_layers{1, 1, 1, 1};
  std::int64_t hidden_width = 768;  // "cross_attention_dim": width of the rows that steer
  std::int64_t groups = 32;
  double norm_epsilon = 1e-5;
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  bool linear_projection = false;  // v2: the transformers' outer layers are matrices in the file, not convolutions
  bool centre_input = false;
  std::int64_t downsample_padding = 1;

  std::int64_t time_width() const { return 4 * channels.front(); }
};

/// Reads a unet/config.json; `where` names it in errors. Members that change the architecture into one that is not
/// supported are an Error that names them.
UNetConfig read_unet_config(const Json& json, const std::string& where);
/// What read_unet_config and diffusers read back.
Json unet_json(const UNetConfig& config);
/// Throws UsageError where lists disagree in length, or groups or heads do not divide channels.
void check_unet(const UNetConfig& config, const std::string& where);

/// The configurations of the published models of 860 million parameters each.
UNetConfig stable_diffusion_1_unet();
UNetConfig stable_diffusion_2_unet(bool large = true);  // 96 by 96 latents, else 64 by 64

}  // namespace attune

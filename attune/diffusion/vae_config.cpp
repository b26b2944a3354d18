#include "attune/diffusion/vae_config.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/config_members.h"

namespace attune {
namespace {

/// Blocks' names: the plain ones of an autoencoder, and nothing else.
void check_blocks(const Json& json, const char* key, const char* block, std::size_t stages, const std::string& where) {
  const auto names = json_or<std::vector<std::string>>(json, key, std::vector<std::string>(stages, block), where);
  for (const auto& name : names) {
    if (name != block) throw Error(fmt::format("{}: expected {} in '{}', found '{}'", where, block, key, name));
  }
  if (names.size() != stages) {
    throw Error(fmt::format("{}: expected {} entries in '{}', found {}", where, stages, key, names.size()));
  }
}

}  // namespace

VaeConfig read_vae_config(const Json& json, const std::string& where) {
  constexpr std::size_t kMostStages = 16;
  if (!json.is_object()) throw Error(where + ": expected an object");
  const auto type = json_or<std::string>(json, "_class_name", "AutoencoderKL", where);
  if (type != "AutoencoderKL") {
    throw Error(fmt::format("{}: expected '_class_name' AutoencoderKL, found '{}'", where, type));
  }
  VaeConfig config;
  config.channels = json_or<std::vector<std::int64_t>>(json, "block_out_channels", {64}, where);
  const std::size_t stages = config.channels.size();
  if (stages < 1 || stages > kMostStages) {
    throw Error(fmt::format("{}: expected 1 to {} 'block_out_channels', found {}", where, kMostStages, stages));
  }
  check_blocks(json, "down_block_types", "DownEncoderBlock2D", stages, where);
  check_blocks(json, "up_block_types", "UpDecoderBlock2D", stages, where);
  config.in_channels = read_count(json, "in_channels", 3, where);
  config.out_channels = read_count(json, "out_channels", 3, where);
  if (config.in_channels != 3 || config.out_channels != 3) {
    throw Error(where + ": expected 3 'in_channels' and 'out_channels'");
  }
  config.latent_channels = read_count(json, "latent_channels", 4, where);
  config.layers = read_count(json, "layers_per_block", 1, where);
  config.groups = read_count(json, "norm_num_groups", 32, where);
  config.scaling = json_or<double>(json, "scaling_factor", 0.18215, where);
  config.shift = json_or<double>(json, "shift_factor", 0.0, where);
  if (!(config.scaling > 0)) {
    throw Error(fmt::format("{}: expected 'scaling_factor' above 0, found {}", where, config.scaling));
  }
  config.quant = json_or<bool>(json, "use_quant_conv", true, where);
  config.post_quant = json_or<bool>(json, "use_post_quant_conv", true, where);
  config.middle_attention = json_or<bool>(json, "mid_block_add_attention", true, where);
  const auto activation = json_or<std::string>(json, "act_fn", "silu", where);
  if (activation != "silu" && activation != "swish") {
    throw Error(fmt::format("{}: expected 'act_fn' silu, found '{}'", where, activation));
  }
  for (const char* key : {"latents_mean", "latents_std"}) {
    if (json.contains(key) && !json[key].is_null()) {
      throw Error(fmt::format("{}: '{}' asks for an architecture that is not supported", where, key));
    }
  }
  for (const auto channels : config.channels) {
    if (channels < 1 || channels > 1'000'000 || channels % config.groups != 0) {
      throw Error(fmt::format("{}: expected channels that {} groups divide, found {}", where, config.groups, channels));
    }
  }
  return config;
}

}  // namespace attune

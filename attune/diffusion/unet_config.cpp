#include "attune/diffusion/unet_config.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/config_members.h"

namespace attune {
namespace {

constexpr std::size_t kMostStages = 16;

/// Members that another program wrote for an architecture that is not this one, with the value that is.
const std::map<std::string, Json>& neutral_members() {
  static const std::map<std::string, Json> kMembers{
      {"act_fn", "silu"},
      {"mid_block_scale_factor", 1},
      {"dropout", 0.0},
      {"resnet_time_scale_shift", "default"},
      {"resnet_out_scale_factor", 1.0},
      {"time_embedding_type", "positional"},
      {"conv_in_kernel", 3},
      {"conv_out_kernel", 3},
      {"attention_type", "default"},
      // What it would be used with is refused.
      {"addition_embed_type_num_heads", 64},
  };
  return kMembers;
}

/// Members that are read here, or that change nothing in fp32.
const std::set<std::string>& known_members() {
  static const std::set<std::string> kMembers{"sample_size",         "in_channels",
                                              "out_channels",        "center_input_sample",
                                              "flip_sin_to_cos",     "freq_shift",
                                              "down_block_types",    "mid_block_type",
                                              "up_block_types",      "block_out_channels",
                                              "layers_per_block",    "downsample_padding",
                                              "norm_num_groups",     "norm_eps",
                                              "cross_attention_dim", "transformer_layers_per_block",
                                              "attention_head_dim",  "use_linear_projection",
                                              "upcast_attention"};
  return kMembers;
}

bool is_off(const Json& value) {
  return value.is_null() || value == false;
}

/// Everything that is neither read nor off nor neutral asks for something else than this network.
void refuse_others(const Json& json, const std::string& where) {
  for (const auto& [key, value] : json.items()) {
    if (key.starts_with("_") || is_off(value) || known_members().contains(key)) continue;
    const auto neutral = neutral_members().find(key);
    const bool same =
        neutral != neutral_members().end() && (neutral->second == value || (key == "act_fn" && value == "swish"));
    if (!same) {
      throw Error(fmt::format("{}: '{}' {} asks for an architecture that is not supported", where, key, value.dump()));
    }
  }
}

/// One count a stage, given as a list or as one number for all.
std::vector<std::int64_t> read_counts(const Json& json, const char* key, std::int64_t otherwise, std::size_t stages,
                                      const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array()) {
    return std::vector<std::int64_t>(stages, read_count(json, key, otherwise, where));
  }
  auto counts = json_at<std::vector<std::int64_t>>(json, key, where);
  for (const auto count : counts) {
    if (count < 1 || count > 1'000'000) {
      throw Error(fmt::format("{}: expected numbers between 1 and 1000000 in '{}', found {}", where, key, count));
    }
  }
  if (counts.size() != stages) {
    throw Error(fmt::format("{}: expected {} numbers in '{}', found {}", where, stages, key, counts.size()));
  }
  return counts;
}

/// Which of the named stages attend.
std::vector<bool> read_stages(const Json& json, const char* key, const char* attending, const char* plain,
                              const std::vector<std::string>& otherwise, const std::string& where) {
  std::vector<bool> attends;
  for (const auto& name : json_or<std::vector<std::string>>(json, key, otherwise, where)) {
    if (name != attending && name != plain) {
      throw Error(fmt::format("{}: expected {} or {} in '{}', found '{}'", where, attending, plain, key, name));
    }
    attends.push_back(name == attending);
  }
  if (attends.empty() || attends.size() > kMostStages) {
    throw Error(fmt::format("{}: expected 1 to {} entries in '{}', found {}", where, kMostStages, key, attends.size()));
  }
  return attends;
}

/// A side given as a number, or as two equal ones.
std::int64_t read_sample_size(const Json& json, const std::string& where) {
  const auto found = json.find("sample_size");
  if (found == json.end() || !found->is_array()) return read_count(json, "sample_size", 64, where);
  const auto sides = read_counts(json, "sample_size", 64, 2, where);
  if (sides[0] != sides[1]) throw Error(where + ": expected a square 'sample_size'");
  return sides[0];
}

Json block_names(const std::vector<bool>& attends, const char* attending, const char* plain) {
  Json names = Json::array();
  for (const bool one : attends) names.push_back(one ? attending : plain);
  return names;
}

}  // namespace

UNetConfig read_unet_config(const Json& json, const std::string& where) {
  if (!json.is_object()) throw Error(where + ": expected an object");
  const auto type = json_or<std::string>(json, "_class_name", "UNet2DConditionModel", where);
  if (type != "UNet2DConditionModel") {
    throw Error(fmt::format("{}: expected '_class_name' UNet2DConditionModel, found '{}'", where, type));
  }
  refuse_others(json, where);
  UNetConfig config;
  config.attention_down =
      read_stages(json, "down_block_types", "CrossAttnDownBlock2D", "DownBlock2D",
                  {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"}, where);
  config.attention_up =
      read_stages(json, "up_block_types", "CrossAttnUpBlock2D", "UpBlock2D",
                  {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"}, where);
  const std::size_t stages = config.attention_down.size();
  const auto middle = json.find("mid_block_type");
  config.middle = middle == json.end() || !middle->is_null();
  if (config.middle) {
    const auto name = json_or<std::string>(json, "mid_block_type", "UNetMidBlock2DCrossAttn", where);
    if (name != "UNetMidBlock2DCrossAttn") {
      throw Error(
          fmt::format("{}: expected 'mid_block_type' UNetMidBlock2DCrossAttn or null, found '{}'", where, name));
    }
  }
  config.sample_size = read_sample_size(json, where);
  config.in_channels = read_count(json, "in_channels", 4, where);
  config.out_channels = read_count(json, "out_channels", 4, where);
  if (json.contains("block_out_channels") || stages != config.channels.size()) {
    config.channels = json_at<std::vector<std::int64_t>>(json, "block_out_channels", where);
    config.channels = read_counts(json, "block_out_channels", 320, stages, where);
  }
  config.layers = read_counts(json, "layers_per_block", 2, stages, where);
  config.heads = read_counts(json, "attention_head_dim", 8, stages, where);
  config.transformer_layers = read_counts(json, "transformer_layers_per_block", 1, stages, where);
  config.hidden_width = read_count(json, "cross_attention_dim", 1280, where);
  config.groups = read_count(json, "norm_num_groups", 32, where);
  config.norm_epsilon = json_or<double>(json, "norm_eps", 1e-5, where);
  config.flip_sin_to_cos = json_or<bool>(json, "flip_sin_to_cos", true, where);
  config.freq_shift = json_or<double>(json, "freq_shift", 0, where);
  config.linear_projection = json_or<bool>(json, "use_linear_projection", false, where);
  config.centre_input = json_or<bool>(json, "center_input_sample", false, where);
  config.downsample_padding = read_count(json, "downsample_padding", 1, where);
  check_unet(config, where);
  return config;
}

Json unet_json(const UNetConfig& config) {
  return {{"_class_name", "UNet2DConditionModel"},
          {"sample_size", config.sample_size},
          {"in_channels", config.in_channels},
          {"out_channels", config.out_channels},
          {"center_input_sample", config.centre_input},
          {"flip_sin_to_cos", config.flip_sin_to_cos},
          {"freq_shift", config.freq_shift},
          {"down_block_types", block_names(config.attention_down, "CrossAttnDownBlock2D", "DownBlock2D")},
          {"mid_block_type", config.middle ? Json("UNetMidBlock2DCrossAttn") : Json(nullptr)},
          {"up_block_types", block_names(config.attention_up, "CrossAttnUpBlock2D", "UpBlock2D")},
          {"block_out_channels", config.channels},
          {"layers_per_block", config.layers},
          {"transformer_layers_per_block", config.transformer_layers},
          {"attention_head_dim", config.heads},
          {"cross_attention_dim", config.hidden_width},
          {"downsample_padding", config.downsample_padding},
          {"norm_num_groups", config.groups},
          {"norm_eps", config.norm_epsilon},
          {"act_fn", "silu"},
          {"use_linear_projection", config.linear_projection}};
}

void check_unet(const UNetConfig& config, const std::string& where) {
  const std::size_t stages = config.channels.size();
  if (stages < 1 || config.attention_down.size() != stages || config.attention_up.size() != stages ||
      config.layers.size() != stages || config.heads.size() != stages || config.transformer_layers.size() != stages) {
    throw Error(fmt::format("{}: expected lists of one entry for each of {} stages", where, stages));
  }
  if (!(config.norm_epsilon >= 0 && config.norm_epsilon < 1)) {
    throw Error(fmt::format("{}: expected 'norm_eps' from 0 to 1, found {}", where, config.norm_epsilon));
  }
  if (!(config.freq_shift >= 0 && 2 * config.freq_shift < static_cast<double>(config.channels.front()))) {
    throw Error(
        fmt::format("{}: expected 'freq_shift' below half of the first channels, found {}", where, config.freq_shift));
  }
  for (std::size_t i = 0; i < stages; ++i) {
    const bool attends =
        config.attention_down[i] || config.attention_up[stages - 1 - i] || (config.middle && i + 1 == stages);
    if (attends) check_heads(config.channels[i], config.heads[i], where);
    if (config.channels[i] % config.groups != 0) {
      throw Error(fmt::format("{}: expected channels that {} groups divide, found {}", where, config.groups,
                              config.channels[i]));
    }
  }
}

UNetConfig stable_diffusion_1_unet() {
  return {};
}

UNetConfig stable_diffusion_2_unet(bool large) {
  UNetConfig config;
  config.sample_size = large ? 96 : 64;
  config.heads = {5, 10, 20, 20};
  config.hidden_width = 1024;
  config.linear_projection = true;
  return config;
}

}  // namespace attune

#include "attune/domains/domain_folder.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"
#include "attune/domains/domain_model.h"
#include "attune/formats/limits.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using Kind = DomainConfig::Kind;

constexpr std::int64_t kMostPatches = 128 * 128;
constexpr const char* kTypes = "vit, vit_mae, dinov2, sam or sam_vision_model";

std::optional<Kind> kind_named(const std::string& type) {
  if (type == "vit") return Kind::kVit;
  if (type == "vit_mae") return Kind::kVitMae;
  if (type == "dinov2") return Kind::kDinov2;
  if (type == "sam" || type == "sam_vision_model") return Kind::kSam;
  return std::nullopt;
}

Json read_object(const fs::path& path) {
  Json json = read_json(path, kConfigLimit);
  if (!json.is_object()) throw Error(path.string() + ": expected an object");
  return json;
}

std::int64_t hidden_of(const Json& json, Kind kind, std::int64_t width, const std::string& where) {
  const char* key = kind == Kind::kSam ? "mlp_dim" : "intermediate_size";
  const auto found = json.find(key);
  const bool given = kind != Kind::kDinov2 && found != json.end() && !found->is_null();
  if (given || (kind != Kind::kDinov2 && kind != Kind::kSam)) return read_count(json, key, 3072, where);
  const double ratio = json_or<double>(json, "mlp_ratio", 4.0, where);
  if (!(ratio > 0.0 && ratio <= 64.0)) {
    throw Error(fmt::format("{}: expected 'mlp_ratio' above 0 and at most 64, found {}", where, ratio));
  }
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(width) * ratio));
}

double epsilon_of(const Json& json, double otherwise, const std::string& where) {
  const double epsilon = json_or<double>(json, "layer_norm_eps", otherwise, where);
  if (!(epsilon >= 0.0 && epsilon < 1.0)) {
    throw Error(fmt::format("{}: expected 'layer_norm_eps' from 0 to 1, found {}", where, epsilon));
  }
  return epsilon;
}

void read_windows(const Json& json, DomainConfig& config, const std::string& where) {
  config.window = read_count(json, "window_size", 14, where);
  config.channels = read_count(json, "output_channels", 256, where);
  config.relative_positions = json_or<bool>(json, "use_rel_pos", true, where);
  config.absolute_positions = json_or<bool>(json, "use_abs_pos", true, where);
  config.global_blocks = json_or<std::vector<std::int64_t>>(json, "global_attn_indexes", {2, 5, 8, 11}, where);
  if (config.window > config.image_size / config.patch) {
    throw Error(fmt::format("{}: expected a 'window_size' of at most {} patches, found {}", where,
                            config.image_size / config.patch, config.window));
  }
}

DomainConfig read_config(const Json& json, const std::string& type, Kind kind, const std::string& where) {
  DomainConfig config;
  config.kind = kind;
  config.type = type;
  const bool early = kind == Kind::kVit || kind == Kind::kVitMae;
  config.blocks.width = read_count(json, "hidden_size", 768, where);
  config.blocks.hidden = hidden_of(json, kind, config.blocks.width, where);
  config.blocks.layers = read_count(json, "num_hidden_layers", 12, where);
  config.blocks.heads = read_count(json, "num_attention_heads", 12, where);
  config.blocks.activation = activation_named(json_or<std::string>(json, "hidden_act", "gelu", where), where);
  config.blocks.epsilon = epsilon_of(json, early ? 1e-12 : 1e-6, where);
  config.image_size = read_count(json, "image_size", kind == Kind::kSam ? 1024 : 224, where);
  config.patch = read_count(json, "patch_size", kind == Kind::kDinov2 ? 14 : 16, where);
  config.qkv_bias = json_or<bool>(json, "qkv_bias", true, where);
  check_heads(config.blocks.width, config.blocks.heads, where);
  if (read_count(json, "num_channels", 3, where) != 3) throw Error(where + ": expected 'num_channels' 3");
  if (config.patch > config.image_size) {
    throw Error(fmt::format("{}: expected a 'patch_size' of at most the 'image_size' {}, found {}", where,
                            config.image_size, config.patch));
  }
  if (kind == Kind::kDinov2 && json_or<bool>(json, "use_swiglu_ffn", false, where)) {
    throw Error(where + ": 'use_swiglu_ffn' asks for an architecture that is not supported");
  }
  if (kind == Kind::kVitMae) config.decoder_width = read_count(json, "decoder_hidden_size", 512, where);
  if (kind == Kind::kSam) read_windows(json, config, where);
  return config;
}

/// The side of the square that the processor hands to the model: the crop where it crops, else the size it resizes to.
std::int64_t view_side(const Json& json, Kind kind, std::int64_t otherwise, const std::string& where) {
  if (json_or<bool>(json, "do_center_crop", kind == Kind::kDinov2, where) && json.contains("crop_size")) {
    return read_side(json, "crop_size", otherwise, where);
  }
  const auto size = json.find("size");
  if (size != json.end() && size->is_object() && size->contains("longest_edge")) {
    return read_count(*size, "longest_edge", otherwise, where);
  }
  return read_side(json, "size", otherwise, where);
}

Preprocess read_preprocess(const fs::path& path, const DomainConfig& config) {
  if (!fs::exists(path)) {
    throw Error(fmt::format("{}: expected this file, which says how pixels are scaled, found none", path.string()));
  }
  const Json json = read_object(path);
  const std::string where = path.string();
  const std::int64_t side = view_side(json, config.kind, config.image_size, where), per_side = side / config.patch;
  if (side != config.image_size && config.kind != Kind::kDinov2) {
    throw Error(fmt::format("{}: expected the model's image size of {}, found {}", where, config.image_size, side));
  }
  if (per_side < 1 || per_side > kMostPatches || per_side * per_side > kMostPatches) {
    throw Error(fmt::format("{}: expected 1 to {} patches of {} pixels in a picture of {}", where, kMostPatches,
                            config.patch, side));
  }
  Preprocess preprocess;
  preprocess.size = static_cast<int>(side);
  preprocess.crop = CropConvention::kHuggingFace;
  const auto filter = json_or<std::int64_t>(json, "resample", config.kind == Kind::kDinov2 ? 3 : 2, where);
  if (filter != 2 && filter != 3) {
    throw Error(fmt::format("{}: expected 'resample' 2 (bilinear) or 3 (bicubic), found {}", where, filter));
  }
  preprocess.filter = filter == 2 ? Filter::kBilinear : Filter::kBicubic;
  const bool normal = json_or<bool>(json, "do_normalize", true, where);
  for (const char* key : {"image_mean", "image_std"}) {
    if (normal && !json.contains(key)) throw Error(fmt::format("{}: expected '{}', found none", where, key));
  }
  preprocess.mean = {0.0F, 0.0F, 0.0F};
  preprocess.deviation = {1.0F, 1.0F, 1.0F};
  if (normal) {
    read_colours(json, "image_mean", preprocess.mean, where);
    read_colours(json, "image_std", preprocess.deviation, where);
  }
  for (const float deviation : preprocess.deviation) {
    if (!(deviation > 0.0F)) throw Error(where + ": expected numbers above 0 in 'image_std'");
  }
  return preprocess;
}

constexpr std::array kParts = {".q_proj", ".k_proj", ".v_proj"};

}  // namespace

const BlockNames kVitNames = {{"attention.attention.query", "attention.attention.key", "attention.attention.value"},
                              "attention.output.dense",
                              "layernorm_before",
                              "layernorm_after",
                              "intermediate.dense",
                              "output.dense",
                              "",
                              ""};
const BlockNames kDinov2Names = {kVitNames.qkv,          kVitNames.out,         "norm1", "norm2", "mlp.fc1", "mlp.fc2",
                                 "layer_scale1.lambda1", "layer_scale2.lambda1"};
const BlockNames kSamNames = {{"attn.qkv"}, "attn.proj", "layer_norm1", "layer_norm2", "mlp.lin1", "mlp.lin2", "", ""};

bool is_domain_folder(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) return false;
  const Json json = read_json(path, kConfigLimit);
  const auto type = json.is_object() ? json.find("model_type") : json.end();
  return type != json.end() && type->is_string() && kind_named(type->get<std::string>()).has_value();
}

DomainDescription describe_domain_folder(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    throw Error(fmt::format("{}: expected the folder of a domain model, found none", folder.string()));
  }
  const fs::path path = folder / "config.json";
  std::string where = path.string();
  Json json = read_object(path);
  const auto type = json_at<std::string>(json, "model_type", where);
  const auto kind = kind_named(type);
  if (!kind) throw Error(fmt::format("{}: expected 'model_type' {}, found '{}'", where, kTypes, type));
  if (type == "sam") {
    json = json_or<Json>(json, "vision_config", Json::object(), where);
    where += ", vision_config";
    if (!json.is_object()) throw Error(where + ": expected an object");
  }
  DomainDescription result;
  result.config = read_config(json, type, *kind, where);
  result.preprocess = read_preprocess(folder / "preprocessor_config.json", result.config);
  return result;
}

fs::path domain_weights(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  throw Error(fmt::format("{}: expected model.safetensors, or its shards with model.safetensors.index.json, found none",
                          folder.string()));
}

NamedTensors block_tensors(const NamedTensors& source, const std::string& prefix, const BlockNames& names,
                           const BlockShape& shape, bool qkv_bias) {
  NamedTensors blocks{{}, source.origin};
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    const std::string from = fmt::format("{}{}.", prefix, i), to = fmt::format("{}.", i);
    const auto layer = [&](const std::string& own, const std::string& name, std::int64_t out, std::int64_t in,
                           const std::string& scale = "", bool bias = true) {
      Tensor weight = source.take(from + own + ".weight", {out, in});
      Tensor shift = bias ? source.take(from + own + ".bias", {out}) : at::zeros({out});
      if (!scale.empty()) {
        const Tensor factor = source.take(from + scale, {out});
        weight = weight * factor.unsqueeze(1);
        shift = shift * factor;
      }
      blocks.tensors[to + name + ".weight"] = weight;
      blocks.tensors[to + name + ".bias"] = shift;
    };
    const auto norm = [&](const std::string& own, const std::string& name) {
      for (const char* part : {".weight", ".bias"}) {
        blocks.tensors[to + name + part] = source.take(from + own + part, {shape.width});
      }
    };
    norm(names.norm1, "layer_norm1");
    norm(names.norm2, "layer_norm2");
    if (names.qkv.size() == 1) {
      layer(names.qkv[0], "self_attn.qkv_proj", 3 * shape.width, shape.width, "", qkv_bias);
    } else {
      for (std::size_t part = 0; part < kParts.size(); ++part) {
        layer(names.qkv[part], std::string("self_attn") + kParts[part], shape.width, shape.width, "", qkv_bias);
      }
    }
    layer(names.out, "self_attn.out_proj", shape.width, shape.width, names.scale1);
    layer(names.fc1, "mlp.fc1", shape.hidden, shape.width);
    layer(names.fc2, "mlp.fc2", shape.width, shape.hidden, names.scale2);
  }
  return blocks;
}

TensorMap named_blocks(const TensorMap& values, const std::string& from, const std::string& to,
                       const BlockNames& names) {
  const std::map<std::string, std::string> own = {{"layer_norm1", names.norm1},
                                                  {"layer_norm2", names.norm2},
                                                  {"self_attn.out_proj", names.out},
                                                  {"mlp.fc1", names.fc1},
                                                  {"mlp.fc2", names.fc2}};
  TensorMap tensors;
  for (const auto& [name, tensor] : values) {
    const auto number = name.starts_with(from) ? name.find('.', from.size()) : std::string::npos;
    if (number == std::string::npos) continue;
    const auto last = name.rfind('.');
    const std::string block = to + name.substr(from.size(), number + 1 - from.size()), part = name.substr(last);
    const std::string layer = last > number ? name.substr(number + 1, last - number - 1) : "";
    if (layer == "self_attn.qkv_proj") {
      const auto thirds = tensor.detach().chunk(3, 0);
      for (std::size_t i = 0; i < thirds.size(); ++i) tensors[block + names.qkv[i] + part] = thirds[i];
    } else if (const auto found = own.find(layer); found != own.end()) {
      tensors[block + found->second + part] = tensor.detach();
    }
  }
  return tensors;
}

Tensor patch_matrix(const NamedTensors& source, const std::string& name, std::int64_t width, std::int64_t patch) {
  return source.take(name, {width, 3, patch, patch}).reshape({width, 3 * patch * patch});
}

}  // namespace attune

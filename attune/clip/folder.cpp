#include "attune/clip/folder.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/formats/limits.h"

namespace attune {

Activation activation_named(const std::string& name, const std::string& where) {
  if (name == "quick_gelu") return Activation::kQuickGelu;
  if (name == "gelu") return Activation::kGelu;
  throw Error(fmt::format("{}: expected 'hidden_act' quick_gelu or gelu, found '{}'", where, name));
}

std::int64_t read_side(const Json& json, const char* key, std::int64_t otherwise, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return otherwise;
  if (!found->is_object()) return read_count(json, key, otherwise, where);
  if (found->contains("shortest_edge")) return read_count(*found, "shortest_edge", otherwise, where);
  const auto height = read_count(*found, "height", otherwise, where);
  if (height != read_count(*found, "width", otherwise, where)) {
    throw Error(fmt::format("{}: expected a square '{}'", where, key));
  }
  return height;
}

void read_colours(const Json& json, const char* key, std::array<float, 3>& values, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return;
  const auto read = json_at<std::vector<double>>(json, key, where);
  if (read.size() != 3) throw Error(fmt::format("{}: expected 3 numbers in '{}', found {}", where, key, read.size()));
  for (std::size_t i = 0; i < 3; ++i) values[i] = static_cast<float>(read[i]);
}

Json config_section(const Json& config, const std::string& name, const std::string& where) {
  Json merged = Json::object();
  for (const auto& key : {name, name + "_dict"}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    if (!found->is_object()) throw Error(fmt::format("{}: expected '{}' to be an object", where, key));
    merged.update(*found);
  }
  return merged;
}

namespace {

void check_patch(const VisionConfig& vision, const std::string& where) {
  if (vision.patch > vision.image_size) {
    throw Error(fmt::format("{}: expected a patch no larger than the image of {}, found {}", where, vision.image_size,
                            vision.patch));
  }
}

}  // namespace

TextConfig read_text_config(const Json& json, const std::string& where) {
  TextConfig text;
  text.width = read_count(json, "hidden_size", 512, where);
  text.layers = read_count(json, "num_hidden_layers", 12, where);
  text.heads = read_count(json, "num_attention_heads", 8, where);
  text.hidden = read_count(json, "intermediate_size", 2048, where);
  text.vocabulary = read_count(json, "vocab_size", 49408, where);
  text.context_length = read_count(json, "max_position_embeddings", 77, where);
  text.activation = activation_named(json_or<std::string>(json, "hidden_act", "quick_gelu", where), where);
  text.norm_epsilon = json_or<double>(json, "layer_norm_eps", 1e-5, where);
  // Early exports wrote 2 by mistake; transformers takes it as "pool the largest id".
  const bool early = json_or<std::int64_t>(json, "eos_token_id", 49407, where) == 2;
  text.pooling = early ? Pooling::kLargestId : Pooling::kFirstEnd;
  check_heads(text.width, text.heads, where);
  return text;
}

VisionConfig read_vision_config(const Json& json, const std::string& where) {
  VisionConfig vision;
  vision.width = read_count(json, "hidden_size", 768, where);
  vision.layers = read_count(json, "num_hidden_layers", 12, where);
  vision.heads = read_count(json, "num_attention_heads", 12, where);
  vision.hidden = read_count(json, "intermediate_size", 3072, where);
  vision.image_size = read_count(json, "image_size", 224, where);
  vision.patch = read_count(json, "patch_size", 32, where);
  vision.activation = activation_named(json_or<std::string>(json, "hidden_act", "quick_gelu", where), where);
  vision.norm_epsilon = json_or<double>(json, "layer_norm_eps", 1e-5, where);
  check_heads(vision.width, vision.heads, where);
  check_patch(vision, where);
  return vision;
}

namespace {

void check_side(std::int64_t side, std::int64_t expected, const char* key, const std::string& where) {
  if (side != expected) {
    throw Error(
        fmt::format("{}: expected '{}' to be the model's image size of {}, found {}", where, key, expected, side));
  }
}

Preprocess hugging_face_preprocess(const std::filesystem::path& path, std::int64_t size) {
  Preprocess preprocess;
  preprocess.size = static_cast<int>(size);
  preprocess.crop = CropConvention::kHuggingFace;
  if (!std::filesystem::exists(path)) return preprocess;
  const Json json = read_json(path, kConfigLimit);
  const std::string where = path.string();
  if (!json.is_object()) throw Error(where + ": expected an object");
  check_side(read_side(json, "size", size, where), size, "size", where);
  check_side(read_side(json, "crop_size", size, where), size, "crop_size", where);
  const auto filter = json_or<std::int64_t>(json, "resample", 3, where);
  if (filter != 2 && filter != 3) {
    throw Error(fmt::format("{}: expected 'resample' 2 (bilinear) or 3 (bicubic), found {}", where, filter));
  }
  preprocess.filter = filter == 2 ? Filter::kBilinear : Filter::kBicubic;
  read_colours(json, "image_mean", preprocess.mean, where);
  read_colours(json, "image_std", preprocess.deviation, where);
  return preprocess;
}

FolderDescription hugging_face(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  const std::string where = path.string();
  const Json json = read_json(path, kConfigLimit);
  if (!json.is_object()) throw Error(where + ": expected an object");
  const auto type = json_or<std::string>(json, "model_type", "clip", where);
  if (type != "clip") throw Error(fmt::format("{}: expected 'model_type' clip, found '{}'", where, type));
  FolderDescription result;
  result.config.joint_width = read_count(json, "projection_dim", 512, where);
  result.config.text = read_text_config(config_section(json, "text_config", where), where + ", text_config");
  result.config.vision = read_vision_config(config_section(json, "vision_config", where), where + ", vision_config");
  result.preprocess = hugging_face_preprocess(folder / "preprocessor_config.json", result.config.vision.image_size);
  return result;
}

/// Options of OpenCLIP that change the architecture into one that is not CLIP's.
void refuse(const Json& json, std::initializer_list<const char*> keys, const std::string& where) {
  for (const char* key : keys) {
    const auto found = json.find(key);
    const bool off = found == json.end() || found->is_null() || *found == false || *found == 0 ||
                     (found->is_string() && found->get_ref<const std::string&>().empty());
    if (!off) throw Error(fmt::format("{}: '{}' asks for an architecture that is not supported", where, key));
  }
}

const Json& object_at(const Json& json, const char* key, const std::string& where) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (found == json.end() || !found->is_object()) throw Error(fmt::format("{}: expected an object '{}'", where, key));
  return *found;
}

std::int64_t scaled(std::int64_t width, const Json& json, const std::string& where) {
  const double ratio = json_or<double>(json, "mlp_ratio", 4.0, where);
  if (!(ratio > 0.0 && ratio < 1000.0))
    throw Error(fmt::format("{}: expected 'mlp_ratio' above 0, found {}", where, ratio));
  return static_cast<std::int64_t>(static_cast<double>(width) * ratio);
}

TextConfig open_clip_text(const Json& json, const std::string& where) {
  refuse(json, {"hf_model_name", "ls_init_value", "embed_cls", "no_causal_mask"}, where);
  TextConfig text;
  text.width = read_count(json, "width", 512, where);
  text.layers = read_count(json, "layers", 12, where);
  text.heads = read_count(json, "heads", 8, where);
  text.hidden = scaled(text.width, json, where);
  text.vocabulary = read_count(json, "vocab_size", 49408, where);
  text.context_length = read_count(json, "context_length", 77, where);
  const auto pool = json_or<std::string>(json, "pool_type", "argmax", where);
  if (pool != "argmax" && pool != "eos") {
    throw Error(fmt::format("{}: expected 'pool_type' argmax or eos, found '{}'", where, pool));
  }
  text.pooling = pool == "eos" ? Pooling::kFirstEnd : Pooling::kLargestId;
  check_heads(text.width, text.heads, where);
  return text;
}

VisionConfig open_clip_vision(const Json& json, const std::string& where) {
  refuse(json,
         {"timm_model_name", "ls_init_value", "attentional_pool", "no_ln_pre", "global_average_pool", "input_patchnorm",
          "final_ln_after_pool"},
         where);
  VisionConfig vision;
  vision.image_size = read_count(json, "image_size", 224, where);
  const auto head_width = read_count(json, "head_width", 64, where);
  const auto layers = json.find("layers");
  if (layers != json.end() && layers->is_array()) {
    vision.kind = VisionConfig::Kind::kResNet;
    vision.stages = json_at<std::vector<std::int64_t>>(json, "layers", where);
    for (const auto blocks : vision.stages) {
      if (vision.stages.size() != 4 || blocks < 1 || blocks > 1000) {
        throw Error(where + ": expected 'layers' to be four counts of blocks");
      }
    }
    vision.width = read_count(json, "width", 64, where);
    vision.heads = vision.width * 32 / head_width;
    if (vision.heads < 1 || vision.image_size % 32 != 0 || vision.stages.empty()) {
      throw Error(where + ": expected an image size that 32 divides and at least one head of 'head_width'");
    }
    return vision;
  }
  vision.width = read_count(json, "width", 768, where);
  vision.layers = read_count(json, "layers", 12, where);
  check_heads(vision.width, head_width, where);
  vision.heads = vision.width / head_width;
  vision.hidden = scaled(vision.width, json, where);
  vision.patch = read_count(json, "patch_size", 16, where);
  check_patch(vision, where);
  return vision;
}

Preprocess open_clip_preprocess(const Json& json, std::int64_t size, const std::string& where) {
  Preprocess preprocess;
  preprocess.size = static_cast<int>(size);
  const auto found = json.find("preprocess_cfg");
  if (found == json.end() || !found->is_object()) return preprocess;
  const auto resize = json_or<std::string>(*found, "resize_mode", "shortest", where);
  const auto filter = json_or<std::string>(*found, "interpolation", "bicubic", where);
  if (resize != "shortest") throw Error(fmt::format("{}: expected 'resize_mode' shortest, found '{}'", where, resize));
  if (filter != "bicubic" && filter != "bilinear") {
    throw Error(fmt::format("{}: expected 'interpolation' bicubic or bilinear, found '{}'", where, filter));
  }
  preprocess.filter = filter == "bicubic" ? Filter::kBicubic : Filter::kBilinear;
  read_colours(*found, "mean", preprocess.mean, where);
  read_colours(*found, "std", preprocess.deviation, where);
  return preprocess;
}

FolderDescription open_clip(const std::filesystem::path& path) {
  const std::string where = path.string();
  const Json json = read_json(path, kConfigLimit);
  const Json& model = object_at(json, "model_cfg", where);
  FolderDescription result;
  result.open_clip = true;
  result.config.joint_width = read_count(model, "embed_dim", 512, where);
  result.config.text = open_clip_text(object_at(model, "text_cfg", where), where + ", text_cfg");
  result.config.vision = open_clip_vision(object_at(model, "vision_cfg", where), where + ", vision_cfg");
  const bool quick = json_or<bool>(model, "quick_gelu", false, where);
  result.config.text.activation = result.config.vision.activation = quick ? Activation::kQuickGelu : Activation::kGelu;
  result.preprocess = open_clip_preprocess(json, result.config.vision.image_size, where);
  return result;
}

}  // namespace

FolderDescription describe_folder(const std::filesystem::path& folder) {
  FolderDescription result;
  if (std::filesystem::exists(folder / "config.json")) {
    result = hugging_face(folder);
  } else if (std::filesystem::exists(folder / "open_clip_config.json")) {
    result = open_clip(folder / "open_clip_config.json");
  } else {
    throw Error(fmt::format("{}: expected a model folder with config.json or open_clip_config.json, found neither",
                            folder.string()));
  }
  const auto absolute = std::filesystem::weakly_canonical(folder);
  result.config.name =
      absolute.has_filename() ? absolute.filename().string() : absolute.parent_path().filename().string();
  return result;
}

}  // namespace attune

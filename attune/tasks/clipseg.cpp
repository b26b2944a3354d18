#include "attune/tasks/clipseg.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"
#include "attune/domains/domain_folder.h"
#include "attune/formats/limits.h"
#include "attune/methods/learner.h"
#include "attune/tasks/tower_lora.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

std::vector<std::int64_t> read_extract(const Json& json, std::int64_t layers, const std::string& where) {
  std::vector<std::int64_t> extract = {3, 6, 9};
  if (json.contains("extract_layers")) extract = json_at<std::vector<std::int64_t>>(json, "extract_layers", where);
  bool fits = !extract.empty();
  for (std::size_t i = 0; i < extract.size(); ++i) {
    fits = fits && extract[i] >= (i == 0 ? 0 : extract[i - 1] + 1) && extract[i] < layers;
  }
  if (!fits) {
    throw Error(fmt::format("{}: expected rising 'extract_layers' from 0 to {}, found {}", where, layers - 1,
                            Json(extract).dump()));
  }
  return extract;
}

MaskDecoderConfig read_decoder(const Json& json, const ClipSegConfig& model, const std::string& where) {
  MaskDecoderConfig decoder;
  decoder.tower_width = model.clip.vision.width;
  decoder.joint_width = model.clip.joint_width;
  decoder.width = read_count(json, "reduce_dim", 64, where);
  decoder.hidden = read_count(json, "decoder_intermediate_size", 2048, where);
  decoder.heads = read_count(json, "decoder_num_attention_heads", 4, where);
  decoder.layers = static_cast<std::int64_t>(model.extract.size());
  decoder.patch = model.clip.vision.patch;
  decoder.complex_head = json_or<bool>(json, "use_complex_transposed_convolution", false, where);
  decoder.norm_epsilon = model.clip.vision.norm_epsilon;
  decoder.conditioned = json_or<std::int64_t>(json, "conditional_layer", 0, where);
  check_heads(decoder.width, decoder.heads, where);
  if (decoder.conditioned < 0 || decoder.conditioned >= decoder.layers) {
    throw Error(fmt::format("{}: expected a 'conditional_layer' from 0 to {}, found {}", where, decoder.layers - 1,
                            decoder.conditioned));
  }
  if (decoder.complex_head && (decoder.patch < 4 || decoder.width < 2)) {
    throw Error(
        fmt::format("{}: expected a patch of at least 4 pixels and a 'reduce_dim' of at least 2 for "
                    "'use_complex_transposed_convolution', found {} and {}",
                    where, decoder.patch, decoder.width));
  }
  return decoder;
}

/// Pictures are resized to a square without regard to their proportions.
Preprocess read_preprocess(const fs::path& path, const VisionConfig& vision) {
  Preprocess preprocess;
  preprocess.size = static_cast<int>(vision.image_size);
  // What transformers' ViTImageProcessor has where a folder says nothing.
  preprocess.filter = Filter::kBilinear;
  preprocess.mean = preprocess.deviation = {0.5F, 0.5F, 0.5F};
  if (!fs::exists(path)) return preprocess;
  const Json json = read_json(path, kConfigLimit);
  const std::string where = path.string();
  if (!json.is_object()) throw Error(where + ": expected an object");
  const std::int64_t side = read_side(json, "size", vision.image_size, where);
  if (side < vision.patch || side > 4096) {
    throw Error(
        fmt::format("{}: expected a 'size' of one patch of {} to 4096 pixels, found {}", where, vision.patch, side));
  }
  preprocess.size = static_cast<int>(side);
  const auto filter = json_or<std::int64_t>(json, "resample", 2, where);
  if (filter != 2 && filter != 3) {
    throw Error(fmt::format("{}: expected 'resample' 2 (bilinear) or 3 (bicubic), found {}", where, filter));
  }
  preprocess.filter = filter == 2 ? Filter::kBilinear : Filter::kBicubic;
  if (json_or<bool>(json, "do_center_crop", false, where)) {
    throw Error(where + ": 'do_center_crop' would cut off parts of the picture and is not supported");
  }
  read_colours(json, "image_mean", preprocess.mean, where);
  read_colours(json, "image_std", preprocess.deviation, where);
  return preprocess;
}

/// Positions [1 + side * side, width] of a tower's square, stretched over another one.
Tensor stretched(const Tensor& positions, std::int64_t side) {
  const std::int64_t cells = positions.size(0) - 1, width = positions.size(1);
  if (cells == side * side) return positions;
  const std::int64_t own = std::llround(std::sqrt(static_cast<double>(cells)));
  const Tensor grid = positions.narrow(0, 1, cells).view({1, own, own, width}).permute({0, 3, 1, 2});
  const Tensor larger = at::upsample_bicubic2d(grid, {side, side}, /*align_corners=*/false);
  return at::cat({positions.narrow(0, 0, 1), larger.permute({0, 2, 3, 1}).reshape({side * side, width})});
}

fs::path found_folder(const fs::path& folder) {
  if (folder == "pocket-segmenter" && !fs::exists(folder / "config.json")) return models_folder() / folder;
  if (!fs::is_directory(folder)) {
    throw Error(
        fmt::format("{}: expected the folder of a segmenter or 'pocket-segmenter', found none", folder.string()));
  }
  return folder;
}

}  // namespace

ClipSegConfig describe_clipseg(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  const Json json = read_json(path, kConfigLimit);
  const std::string where = path.string();
  const auto type = json_or<std::string>(json, "model_type", "", where);
  if (type != "clipseg") throw Error(fmt::format("{}: expected 'model_type' clipseg, found '{}'", where, type));
  ClipSegConfig config;
  config.clip.name = fs::weakly_canonical(folder).filename().string();
  config.clip.joint_width = read_count(json, "projection_dim", 512, where);
  config.clip.text = read_text_config(config_section(json, "text_config", where), where + ", text_config");
  config.clip.vision = read_vision_config(config_section(json, "vision_config", where), where + ", vision_config");
  config.extract = read_extract(json, config.clip.vision.layers, where);
  config.decoder = read_decoder(json, config, where);
  config.preprocess = read_preprocess(folder / "preprocessor_config.json", config.clip.vision);
  return config;
}

NamedTensors clipseg_tensors(const fs::path& folder) {
  const fs::path path = domain_weights(folder);
  NamedTensors source{{}, path.string()};
  for (auto& [name, tensor] : map_tensors(path)) {
    source.tensors.emplace(name.starts_with("clip.") ? name.substr(5) : name, tensor);
  }
  return source;
}

void write_clipseg_folder(const fs::path& folder, const ClipSegConfig& config, const FolderParts& parts,
                          const TensorMap& tensors, at::ScalarType type) {
  FolderParts own = parts;
  own.config = config.clip;
  own.preprocess = config.preprocess;
  write_hugging_face_folder(folder, own, tensors, type);
  TensorMap named;
  for (const auto& [name, tensor] : load_tensors(folder / "model.safetensors")) {
    named.emplace(name.starts_with("decoder.") ? name : "clip." + name, tensor);
  }
  save_tensors(folder / "model.safetensors", named, {{"format", "pt"}});
  Json json = read_json(folder / "config.json");
  json["architectures"] = {"CLIPSegForImageSegmentation"};
  json["model_type"] = "clipseg";
  json["text_config"]["model_type"] = "clipseg_text_model";
  json["vision_config"]["model_type"] = "clipseg_vision_model";
  json["extract_layers"] = config.extract;
  json["reduce_dim"] = config.decoder.width;
  json["decoder_num_attention_heads"] = config.decoder.heads;
  json["decoder_intermediate_size"] = config.decoder.hidden;
  json["conditional_layer"] = config.decoder.conditioned;
  json["use_complex_transposed_convolution"] = config.decoder.complex_head;
  write_json(folder / "config.json", json);
  const Preprocess& preprocess = config.preprocess;
  write_json(folder / "preprocessor_config.json", {{"image_processor_type", "ViTImageProcessor"},
                                                   {"do_resize", true},
                                                   {"size", {{"height", preprocess.size}, {"width", preprocess.size}}},
                                                   {"resample", preprocess.filter == Filter::kBicubic ? 3 : 2},
                                                   {"do_rescale", true},
                                                   {"rescale_factor", 1.0 / 255.0},
                                                   {"do_normalize", true},
                                                   {"image_mean", preprocess.mean},
                                                   {"image_std", preprocess.deviation}});
}

template <class L>
std::vector<Tensor> extracted(const VisionConfig& config, const VitWeights<L>& weights, const Tensor& pixels,
                              const std::vector<std::int64_t>& extract, const Tuning& tuning) {
  if (!pixels.defined() || pixels.dim() != 4 || pixels.size(1) != 3 || pixels.size(2) != pixels.size(3) ||
      pixels.size(2) < config.patch) {
    throw Error(fmt::format("segmenter: expected pixels [B, 3, size, size] of at least {}", config.patch));
  }
  const auto& [blocks, heads, activation] = weights.transformer;
  const Tensor patches = weights.patch(patches_of(pixels, config.patch));
  const Tensor first = weights.class_token.expand({pixels.size(0), 1, config.width});
  Tensor rows = at::cat({first, patches}, 1) + stretched(weights.positions, pixels.size(2) / config.patch);
  rows = weights.before(rows);
  std::vector<Tensor> kept;
  for (std::int64_t i = 0; i <= extract.back(); ++i) {
    rows = full_block(blocks[static_cast<std::size_t>(i)], heads, activation, rows, rows.size(1),
                      tuning_of(tuning, static_cast<std::size_t>(i)));
    if (std::find(extract.begin(), extract.end(), i) != extract.end()) kept.insert(kept.begin(), rows);
  }
  return kept;
}

template std::vector<Tensor> extracted(const VisionConfig&, const VitWeights<Linear>&, const Tensor&,
                                       const std::vector<std::int64_t>&, const Tuning&);
template std::vector<Tensor> extracted(const VisionConfig&, const VitWeights<FrozenLinear>&, const Tensor&,
                                       const std::vector<std::int64_t>&, const Tuning&);

VisionConfig decoded_tower(const ClipSegConfig& config) {
  VisionConfig tower = config.clip.vision;
  tower.layers = config.extract.back() + 1;
  return tower;
}

TensorMap mask_parameters(const VitWeights<Linear>& tower, const MaskDecoder& decoder) {
  TensorMap tensors = parameters_of(tower);
  for (const char* behind :
       {"visual_projection.weight", "vision_model.post_layernorm.weight", "vision_model.post_layernorm.bias"}) {
    tensors.erase(behind);
  }
  tensors.merge(decoder.parameters());
  return tensors;
}

ClipSeg ClipSeg::load(const fs::path& name, const LoadOptions& options, const TensorMap& changes) {
  const fs::path folder = found_folder(name);
  const ClipSegConfig config = describe_clipseg(folder);
  ClipSeg model;
  ClipModel& shared = model.text_;
  shared.folder = folder;
  shared.config = config.clip;
  shared.preprocess = config.preprocess;
  shared.device = options.device;
  shared.products = options.products;
  shared.hashes = options.hashes;
  NamedTensors source = clipseg_tensors(folder);
  shared.hash_ = hash_of_weights(source.origin, options.hashes);
  if (options.text) {
    shared.tokenizer = std::make_shared<const Tokenizer>(Tokenizer::load(folder));
    shared.text = make_text_tower(shared.config.text,
                                  frozen_text_weights(shared.config, source, options.device, options.products));
  }
  if (!options.image) return model;
  for (const auto& [changed, tensor] : part_of_state(changes, kChangedSegmenter)) source.tensors[changed] = tensor;
  model.tuning_ = tower_lora(part_of_state(changes, kTowerLora), decoded_tower(config));
  model.vision_ = std::make_shared<const VitWeights<FrozenLinear>>(
      frozen_vit_weights(shared.config, source, options.device, options.products));
  NamedTensors decoder{{}, source.origin};
  for (const auto& [own, tensor] : source.tensors) {
    if (own.starts_with("decoder.")) decoder.tensors.emplace(own, tensor.to(options.device));
  }
  model.decoder_ = std::make_shared<const MaskDecoder>(config.decoder, decoder, /*trains=*/false);
  model.extract_ = config.extract;
  return model;
}

Tensor ClipSeg::conditions(const std::vector<std::string>& sentences) const {
  if (!has_text()) throw Error(fmt::format("{}: expected a segmenter with its text tower, found one without", name()));
  return sentence_features(text_, sentences);
}

std::vector<Tensor> ClipSeg::look(const Tensor& pixels) const {
  const at::NoGradGuard no_gradients;
  return look_tuned(pixels, tuning_);
}

std::vector<Tensor> ClipSeg::look_tuned(const Tensor& pixels, const Tuning& tuning) const {
  if (!vision_) throw Error(fmt::format("{}: expected a segmenter with its image tower, found one without", name()));
  return extracted(text_.config.vision, *vision_, pixels.to(text_.device), extract_, tuning);
}

Tensor ClipSeg::logits(const std::vector<Tensor>& activations, const Tensor& conditions) const {
  return decoder_->logits(activations, conditions);
}

}  // namespace attune

#include "attune/tasks/owl_vit.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"
#include "attune/clip/text_tower.h"
#include "attune/clip/weights.h"
#include "attune/domains/domain_folder.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFileLimit = 16 << 20;
constexpr double kLengthEpsilon = 1e-6;  // added to lengths, as the released model does

/// A section with the values that transformers takes for absent keys where they are not CLIP's.
Json section_with(const Json& json, const std::string& name, Json defaults, const std::string& where) {
  defaults.update(config_section(json, name, where));
  return defaults;
}

ClipConfig read_config(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  const Json json = read_json(path, kFileLimit);
  const std::string where = path.string();
  const auto type = json_or<std::string>(json, "model_type", "", where);
  if (type != "owlvit") throw Error(fmt::format("{}: expected 'model_type' owlvit, found '{}'", where, type));
  ClipConfig config;
  config.name = fs::weakly_canonical(folder).filename().string();
  config.joint_width = read_count(json, "projection_dim", 512, where);
  config.text = read_text_config(section_with(json, "text_config", {{"max_position_embeddings", 16}}, where),
                                 where + ", text_config");
  config.text.pooling = Pooling::kLargestId;
  config.vision =
      read_vision_config(section_with(json, "vision_config", {{"image_size", 768}}, where), where + ", vision_config");
  if (config.text.width != config.joint_width) {
    throw Error(fmt::format("{}: expected a 'projection_dim' of the text tower's width {}, found {}", where,
                            config.text.width, config.joint_width));
  }
  return config;
}

/// Pictures are resized to the square input without regard to their proportions.
Preprocess read_preprocess(const fs::path& path, std::int64_t size) {
  Preprocess preprocess;
  preprocess.size = static_cast<int>(size);
  if (!fs::exists(path)) return preprocess;
  const Json json = read_json(path, kFileLimit);
  const std::string where = path.string();
  if (!json.is_object()) throw Error(where + ": expected an object");
  // Early folders give the size as [height, width].
  const auto listed = json.find("size");
  const bool pair = listed != json.end() && listed->is_array();
  const auto sides = pair ? json_at<std::vector<std::int64_t>>(json, "size", where) : std::vector<std::int64_t>();
  const std::int64_t side = !pair                                       ? read_side(json, "size", size, where)
                            : sides.size() == 2 && sides[0] == sides[1] ? sides[0]
                                                                        : 0;
  if (side != size) {
    throw Error(fmt::format("{}: expected the model's image size of {}, found {}", where, size,
                            pair ? listed->dump() : std::to_string(side)));
  }
  const auto filter = json_or<std::int64_t>(json, "resample", 3, where);
  if (filter != 2 && filter != 3) {
    throw Error(fmt::format("{}: expected 'resample' 2 (bilinear) or 3 (bicubic), found {}", where, filter));
  }
  preprocess.filter = filter == 2 ? Filter::kBilinear : Filter::kBicubic;
  if (json_or<bool>(json, "do_center_crop", false, where)) {
    throw Error(where + ": 'do_center_crop' would cut off objects and is not supported");
  }
  read_colours(json, "image_mean", preprocess.mean, where);
  read_colours(json, "image_std", preprocess.deviation, where);
  return preprocess;
}

/// The tensors under the names of a CLIP.
NamedTensors read_tensors(const fs::path& folder) {
  const fs::path path = domain_weights(folder);
  NamedTensors source{{}, path.string()};
  for (auto& [name, tensor] : map_tensors(path)) {
    std::string own = name.starts_with("owlvit.") ? name.substr(7) : name;
    const auto before = own.find("vision_model.pre_layernorm");
    if (before == 0) own.replace(0, std::string("vision_model.pre_layernorm").size(), "vision_model.pre_layrnorm");
    source.tensors.emplace(std::move(own), tensor);
  }
  return source;
}

/// Rows divided by their length.
Tensor unit(const Tensor& rows) {
  return rows / (rows.norm(2, {-1}, /*keepdim=*/true) + kLengthEpsilon);
}

Tensor logit_of(const Tensor& share) {
  return at::log(share + 1e-4) - at::log1p(1e-4 - share);
}

/// What is added to the box head [cells, 4]: every box begins at its cell's lower right corner, with the cell's size.
Tensor box_bias(std::int64_t side) {
  const Tensor steps = at::arange(1, side + 1, at::kFloat) / static_cast<double>(side);
  const Tensor x = steps.repeat({side}), y = steps.repeat_interleave(side);
  const Tensor size = at::full({side * side}, 1.0 / static_cast<double>(side));
  return at::stack({logit_of(x), logit_of(y), logit_of(size), logit_of(size)}, 1);
}

}  // namespace

struct OwlVit::Heads {
  LayerNorm norm;  // of the cells after the class token
  FrozenLinear embed, shift, scale, box0, box1, box2;
  Tensor bias;  // [K, 4]
};

OwlVit OwlVit::load(const fs::path& folder, const LoadOptions& options) {
  if (!fs::is_directory(folder)) {
    throw Error(fmt::format("{}: expected the folder of a detector, found none", folder.string()));
  }
  OwlVit model;
  ClipModel& shared = model.text_;
  shared.folder = folder;
  shared.config = read_config(folder);
  shared.device = options.device;
  shared.products = options.products;
  shared.hashes = options.hashes;
  const VisionConfig& vision = shared.config.vision;
  shared.preprocess = read_preprocess(folder / "preprocessor_config.json", vision.image_size);
  const std::int64_t side = vision.image_size / vision.patch, width = vision.width;
  model.cells_ = side * side;
  const NamedTensors source = read_tensors(folder);
  shared.hash_ = hash_of_weights(source.origin, options.hashes);
  if (options.text) {
    shared.tokenizer = std::make_shared<const Tokenizer>(Tokenizer::load(folder));
    if (shared.tokenizer->size() > shared.config.text.vocabulary) {
      throw Error(fmt::format("{}: expected a tokenizer of at most {} entries, as the text tower has, found {}",
                              folder.string(), shared.config.text.vocabulary, shared.tokenizer->size()));
    }
    shared.text = make_text_tower(shared.config.text,
                                  frozen_text_weights(shared.config, source, options.device, options.products));
  }
  if (!options.image) return model;
  model.vision_ = std::make_shared<const VitWeights<FrozenLinear>>(
      frozen_vit_weights(shared.config, source, options.device, options.products));
  const auto layer = [&](const std::string& name, std::int64_t out) {
    return FrozenLinear(source.take(name + ".weight", {out, width}).to(options.device),
                        source.take(name + ".bias", {out}).to(options.device), options.products);
  };
  model.heads_ = std::make_shared<const Heads>(
      Heads{{source.take("layer_norm.weight", {width}).to(options.device),
             source.take("layer_norm.bias", {width}).to(options.device), vision.norm_epsilon},
            layer("class_head.dense0", shared.config.text.width),
            layer("class_head.logit_shift", 1),
            layer("class_head.logit_scale", 1),
            layer("box_head.dense0", width),
            layer("box_head.dense1", width),
            layer("box_head.dense2", 4),
            box_bias(side).to(options.device)});
  return model;
}

Tensor OwlVit::queries(const std::vector<std::string>& sentences) const {
  if (!has_text()) throw Error(fmt::format("{}: expected a detector with its text tower, found one without", name()));
  return encode_sentences(text_, sentences);
}

/// The cells [B, K, width] of the last block, with the class token in each.
Tensor OwlVit::cell_rows(const Tensor& pixels) const {
  const VisionConfig& config = text_.config.vision;
  const auto& [blocks, heads, activation] = vision_->transformer;
  const Tensor patches = vision_->patch(patches_of(pixels, config.patch));
  const Tensor first = vision_->class_token.expand({pixels.size(0), 1, config.width});
  Tensor rows = vision_->before(at::cat({first, patches}, 1) + vision_->positions);
  for (const auto& block : blocks) rows = full_block(block, heads, activation, rows, rows.size(1));
  rows = vision_->after(rows);
  return heads_->norm(rows.narrow(1, 1, cells_) * rows.narrow(1, 0, 1));
}

Sight OwlVit::look(const Tensor& pixels) const {
  if (!vision_) throw Error(fmt::format("{}: expected a detector with its image tower, found one without", name()));
  const at::NoGradGuard no_gradients;
  check_pixels(text_.config.vision, pixels);
  const Tensor cells = cell_rows(pixels.to(text_.device));
  Sight sight;
  sight.embeddings = unit(heads_->embed(cells));
  sight.shift = heads_->shift(cells).squeeze(-1);
  sight.scale = at::elu(heads_->scale(cells)).squeeze(-1) + 1;
  const Tensor hidden = heads_->box1.activated(heads_->box0.activated(cells, Activation::kGelu), Activation::kGelu);
  sight.boxes = at::sigmoid(heads_->box2(hidden) + heads_->bias);
  return sight;
}

Tensor OwlVit::logits(const Sight& sight, const Tensor& queries) {
  const Tensor cosines = at::matmul(sight.embeddings, unit(queries).t());
  return (cosines + sight.shift.unsqueeze(-1)) * sight.scale.unsqueeze(-1);
}

}  // namespace attune

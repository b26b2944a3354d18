#include "attune/tasks/owl_weights.h"

#include <cmath>
#include <type_traits>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"
#include "attune/domains/domain_folder.h"
#include "attune/formats/limits.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr double kLengthEpsilon = 1e-6;  // added to lengths, as the released model does

/// A section with the values that transformers takes for absent keys where they are not CLIP's.
Json section_with(const Json& json, const std::string& name, Json defaults, const std::string& where) {
  defaults.update(config_section(json, name, where));
  return defaults;
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

/// The last block's rows [B, K, width] of all cells, with the class token in each.
template <class L>
Tensor cell_rows(const VisionConfig& config, const OwlWeights<L>& weights, const Tensor& pixels, const Tuning& tuning) {
  const VitWeights<L>& vision = weights.vision;
  const auto& [blocks, heads, activation] = vision.transformer;
  const Tensor patches = vision.patch(patches_of(pixels, config.patch));
  const Tensor first = vision.class_token.expand({pixels.size(0), 1, config.width});
  Tensor rows = vision.before(at::cat({first, patches}, 1) + vision.positions);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    rows = full_block(blocks[i], heads, activation, rows, rows.size(1), tuning_of(tuning, i));
  }
  rows = vision.after(rows);
  return weights.norm(rows.narrow(1, 1, rows.size(1) - 1) * rows.narrow(1, 0, 1));
}

/// The layers of the heads with their names and numbers of outputs; `width` is the cells', `text` that of a query.
template <class Weights, class Visit>
void visit_heads(Weights& weights, std::int64_t width, std::int64_t text, const Visit& visit) {
  visit("class_head.dense0", weights.embed, text);
  visit("class_head.logit_shift", weights.shift, std::int64_t{1});
  visit("class_head.logit_scale", weights.scale, std::int64_t{1});
  visit("box_head.dense0", weights.box0, width);
  visit("box_head.dense1", weights.box1, width);
  visit("box_head.dense2", weights.box2, std::int64_t{4});
}

Tensor leaf(const Tensor& tensor) {
  return tensor.detach().clone(at::MemoryFormat::Contiguous).set_requires_grad(true);
}

}  // namespace

template <class L>
Sight see(const VisionConfig& config, const OwlWeights<L>& weights, const Tensor& pixels, const Tuning& tuning) {
  check_pixels(config, pixels);
  check_tuning(tuning, weights.vision.transformer.blocks.size(), config.width, "image tower");
  const Tensor cells = cell_rows(config, weights, pixels, tuning);
  Sight sight;
  sight.embeddings = unit(weights.embed(cells));
  sight.shift = weights.shift(cells).squeeze(-1);
  sight.scale = at::elu(weights.scale(cells)).squeeze(-1) + 1;
  const Tensor hidden = weights.box1.activated(weights.box0.activated(cells, Activation::kGelu), Activation::kGelu);
  sight.boxes = at::sigmoid(weights.box2(hidden) + weights.bias);
  return sight;
}

template Sight see(const VisionConfig&, const OwlWeights<Linear>&, const Tensor&, const Tuning&);
template Sight see(const VisionConfig&, const OwlWeights<FrozenLinear>&, const Tensor&, const Tuning&);

OwlWeights<FrozenLinear> frozen_owl_weights(const ClipConfig& config, const NamedTensors& source, at::Device device,
                                            at::ScalarType products) {
  const std::int64_t width = config.vision.width;
  OwlWeights<FrozenLinear> weights;
  weights.vision = frozen_vit_weights(config, source, device, products);
  weights.norm = {source.take("layer_norm.weight", {width}).to(device),
                  source.take("layer_norm.bias", {width}).to(device), config.vision.norm_epsilon};
  visit_heads(weights, width, config.text.width, [&](const std::string& name, FrozenLinear& layer, std::int64_t out) {
    layer = FrozenLinear(source.take(name + ".weight", {out, width}).to(device),
                         source.take(name + ".bias", {out}).to(device), products);
  });
  weights.bias = box_bias(config.vision.image_size / config.vision.patch).to(device);
  return weights;
}

OwlWeights<Linear> trainable_owl_weights(const ClipConfig& config, const NamedTensors& source) {
  const std::int64_t width = config.vision.width;
  OwlWeights<Linear> weights;
  weights.vision = trainable_vit_weights(config, source);
  weights.norm = {leaf(source.take("layer_norm.weight", {width})), leaf(source.take("layer_norm.bias", {width})),
                  config.vision.norm_epsilon};
  visit_heads(weights, width, config.text.width, [&](const std::string& name, Linear& layer, std::int64_t out) {
    layer = {leaf(source.take(name + ".weight", {out, width})), leaf(source.take(name + ".bias", {out}))};
  });
  weights.bias = box_bias(config.vision.image_size / config.vision.patch);
  return weights;
}

TensorMap parameters_of(const OwlWeights<Linear>& weights) {
  TensorMap tensors = parameters_of(weights.vision);
  tensors.erase("visual_projection.weight");
  tensors["layer_norm.weight"] = weights.norm.weight;
  tensors["layer_norm.bias"] = weights.norm.bias;
  visit_heads(weights, 0, 0, [&](const std::string& name, const Linear& layer, std::int64_t) {
    tensors[name + ".weight"] = layer.weight;
    tensors[name + ".bias"] = layer.bias;
  });
  return tensors;
}

Tensor owl_logits(const Sight& sight, const Tensor& queries) {
  if (queries.dim() == 3) {
    const Tensor each = owl_logits(sight, queries.flatten(0, 1));
    return each.view({each.size(0), each.size(1), queries.size(0), queries.size(1)}).amax(-1);
  }
  const Tensor cosines = at::matmul(sight.embeddings, unit(queries).t());
  return (cosines + sight.shift.unsqueeze(-1)) * sight.scale.unsqueeze(-1);
}

ClipConfig read_owl_config(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  const Json json = read_json(path, kConfigLimit);
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

NamedTensors read_owl_tensors(const fs::path& folder) {
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

void write_owl_folder(const fs::path& folder, const FolderParts& parts, const TensorMap& tensors, at::ScalarType type) {
  write_hugging_face_folder(folder, parts, tensors, type);
  TensorMap named;
  for (auto& [name, tensor] : load_tensors(folder / "model.safetensors")) {
    std::string own = name;
    const bool head = own.starts_with("class_head.") || own.starts_with("box_head.") || own.starts_with("layer_norm.");
    // "pre_layernorm" is how this format spells it.
    if (const auto at = own.find("pre_layrnorm"); at != std::string::npos) own.replace(at, 12, "pre_layernorm");
    named.emplace(head ? own : "owlvit." + own, tensor);
  }
  save_tensors(folder / "model.safetensors", named, {{"format", "pt"}});
  Json config = read_json(folder / "config.json");
  config["architectures"] = {"OwlViTForObjectDetection"};
  config["model_type"] = "owlvit";
  config["text_config"]["model_type"] = "owlvit_text_model";
  config["vision_config"]["model_type"] = "owlvit_vision_model";
  write_json(folder / "config.json", config);
  const Preprocess& preprocess = parts.preprocess;
  write_json(folder / "preprocessor_config.json", {{"image_processor_type", "OwlViTImageProcessor"},
                                                   {"do_resize", true},
                                                   {"size", {{"height", preprocess.size}, {"width", preprocess.size}}},
                                                   {"resample", preprocess.filter == Filter::kBicubic ? 3 : 2},
                                                   {"do_center_crop", false},
                                                   {"do_rescale", true},
                                                   {"rescale_factor", 1.0 / 255.0},
                                                   {"do_normalize", true},
                                                   {"image_mean", preprocess.mean},
                                                   {"image_std", preprocess.deviation}});
}

}  // namespace attune

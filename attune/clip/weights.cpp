#include "attune/clip/weights.h"

#include <cmath>
#include <optional>
#include <type_traits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/log.h"
#include "attune/base/random.h"
#include "attune/data/content_ids.h"
#include "attune/formats/tensor_source.h"

namespace attune {
namespace {

constexpr const char* kTextLayers = "text_model.encoder.layers.";
constexpr const char* kVisionLayers = "vision_model.encoder.layers.";
constexpr const char* kPatch = "vision_model.embeddings.patch_embedding.weight";

BlockShape shape_of(const TextConfig& c) {
  return {c.width, c.hidden, c.layers, c.heads, c.activation, c.norm_epsilon};
}
BlockShape shape_of(const VisionConfig& c) {
  return {c.width, c.hidden, c.layers, c.heads, c.activation, c.norm_epsilon};
}

std::int64_t cells_of(const VisionConfig& c) {
  return (c.image_size / c.patch) * (c.image_size / c.patch);
}

/// Makes the parts of a tower from named tensors; `L` decides whether they train.
template <class L>
class Builder {
 public:
  Builder(const NamedTensors& source, at::Device device, at::ScalarType products)
      : source_(source), device_(device), products_(products) {}

  Tensor leaf(const Tensor& tensor) const {
    if constexpr (std::is_same_v<L, Linear>) {
      return tensor.detach().clone(at::MemoryFormat::Contiguous).set_requires_grad(true);
    } else {
      return tensor.to(device_);
    }
  }
  L layer(const Tensor& weight, const Tensor& bias = {}) const {
    const Tensor own_bias = bias.defined() ? leaf(bias) : Tensor();
    if constexpr (std::is_same_v<L, Linear>) {
      return {leaf(weight), own_bias};
    } else {
      return L(leaf(weight), own_bias, products_);
    }
  }
  L layer(const std::string& name, std::int64_t out, std::int64_t in) const {
    return layer(source_.take(name + ".weight", {out, in}), source_.take(name + ".bias", {out}));
  }
  Tensor tensor(const std::string& name, at::IntArrayRef shape) const { return leaf(source_.take(name, shape)); }
  LayerNorm norm(const std::string& name, std::int64_t width, double epsilon) const {
    return {tensor(name + ".weight", {width}), tensor(name + ".bias", {width}), epsilon};
  }
  Transformer<L> transformer(const std::string& prefix, const BlockShape& shape) const;

 private:
  L fused(const std::string& name, std::int64_t width) const;

  const NamedTensors& source_;
  at::Device device_;
  at::ScalarType products_;
};

template <class L>
L Builder<L>::fused(const std::string& name, std::int64_t width) const {
  if (source_.contains(name + ".qkv_proj.weight")) return layer(name + ".qkv_proj", 3 * width, width);
  std::vector<Tensor> weights;
  std::vector<Tensor> biases;
  for (const char* part : {".q_proj", ".k_proj", ".v_proj"}) {
    weights.push_back(source_.take(name + part + ".weight", {width, width}));
    biases.push_back(source_.take(name + part + ".bias", {width}));
  }
  return layer(at::cat(weights), at::cat(biases));
}

template <class L>
Transformer<L> Builder<L>::transformer(const std::string& prefix, const BlockShape& shape) const {
  Transformer<L> result;
  result.heads = shape.heads;
  result.activation = shape.activation;
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    const std::string name = fmt::format("{}{}.", prefix, i);
    result.blocks.push_back(
        {norm(name + "layer_norm1", shape.width, shape.epsilon), norm(name + "layer_norm2", shape.width, shape.epsilon),
         fused(name + "self_attn", shape.width), layer(name + "self_attn.out_proj", shape.width, shape.width),
         layer(name + "mlp.fc1", shape.hidden, shape.width), layer(name + "mlp.fc2", shape.width, shape.hidden)});
  }
  return result;
}

template <class L>
TextWeights<L> text_weights(const ClipConfig& config, const NamedTensors& source, at::Device device,
                            at::ScalarType products) {
  const Builder<L> build(source, device, products);
  const auto& text = config.text;
  TextWeights<L> weights;
  weights.tokens = build.tensor("text_model.embeddings.token_embedding.weight", {text.vocabulary, text.width});
  weights.positions =
      build.tensor("text_model.embeddings.position_embedding.weight", {text.context_length, text.width});
  weights.transformer = build.transformer(kTextLayers, shape_of(text));
  weights.final = build.norm("text_model.final_layer_norm", text.width, text.norm_epsilon);
  weights.projection = build.layer(source.take("text_projection.weight", {config.joint_width, text.width}));
  return weights;
}

Tensor patch_matrix(const VisionConfig& vision, const NamedTensors& source) {
  const auto found = source.tensors.find(kPatch);
  const auto columns = 3 * vision.patch * vision.patch;
  if (found != source.tensors.end() && found->second.dim() == 2) return source.take(kPatch, {vision.width, columns});
  return source.take(kPatch, {vision.width, 3, vision.patch, vision.patch}).reshape({vision.width, columns});
}

template <class L>
VitWeights<L> vit_weights(const ClipConfig& config, const NamedTensors& source, at::Device device,
                          at::ScalarType products) {
  const Builder<L> build(source, device, products);
  const auto& vision = config.vision;
  VitWeights<L> weights;
  weights.patch = build.layer(patch_matrix(vision, source));
  weights.class_token = build.tensor("vision_model.embeddings.class_embedding", {vision.width});
  weights.positions =
      build.tensor("vision_model.embeddings.position_embedding.weight", {1 + cells_of(vision), vision.width});
  // "pre_layrnorm" is how the format spells it.
  weights.before = build.norm("vision_model.pre_layrnorm", vision.width, vision.norm_epsilon);
  weights.after = build.norm("vision_model.post_layernorm", vision.width, vision.norm_epsilon);
  weights.transformer = build.transformer(kVisionLayers, shape_of(vision));
  weights.projection = build.layer(source.take("visual_projection.weight", {config.joint_width, vision.width}));
  return weights;
}

void add(TensorMap& tensors, const std::string& name, const LayerNorm& norm) {
  tensors[name + ".weight"] = norm.weight;
  tensors[name + ".bias"] = norm.bias;
}
void add(TensorMap& tensors, const std::string& name, const Linear& layer) {
  tensors[name + ".weight"] = layer.weight;
  if (layer.bias.defined()) tensors[name + ".bias"] = layer.bias;
}
void add(TensorMap& tensors, const std::string& prefix, const Transformer<Linear>& transformer) {
  for (std::size_t i = 0; i < transformer.blocks.size(); ++i) {
    const std::string name = fmt::format("{}{}.", prefix, i);
    const auto& block = transformer.blocks[i];
    add(tensors, name + "layer_norm1", block.norm1);
    add(tensors, name + "layer_norm2", block.norm2);
    add(tensors, name + "self_attn.qkv_proj", block.qkv);
    add(tensors, name + "self_attn.out_proj", block.out);
    add(tensors, name + "mlp.fc1", block.fc1);
    add(tensors, name + "mlp.fc2", block.fc2);
  }
}

/// Draws tensors one after the other.
struct Drawer {
  TensorMap& tensors;
  KeyedRandom random;

  void matrix(const std::string& name, at::IntArrayRef shape, double deviation) {
    tensors[name] = normal(shape, 0.0, deviation, random);
  }
  void norm(const std::string& name, std::int64_t width) {
    tensors[name + ".weight"] = at::ones({width});
    tensors[name + ".bias"] = at::zeros({width});
  }
  void layer(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    matrix(name + ".weight", {out, in}, deviation);
    tensors[name + ".bias"] = at::zeros({out});
  }
  void blocks(const std::string& prefix, const BlockShape& shape) {
    const double width = static_cast<double>(shape.width);
    const double into = 1.0 / std::sqrt(width);
    const double out_of = into / std::sqrt(2.0 * static_cast<double>(shape.layers));
    for (std::int64_t i = 0; i < shape.layers; ++i) {
      const std::string name = fmt::format("{}{}.", prefix, i);
      norm(name + "layer_norm1", shape.width);
      norm(name + "layer_norm2", shape.width);
      layer(name + "self_attn.qkv_proj", 3 * shape.width, shape.width, into);
      layer(name + "self_attn.out_proj", shape.width, shape.width, out_of);
      layer(name + "mlp.fc1", shape.hidden, shape.width, 1.0 / std::sqrt(2.0 * width));
      layer(name + "mlp.fc2", shape.width, shape.hidden, out_of);
    }
  }
};

}  // namespace

Tensor NamedTensors::take(const std::string& name, at::IntArrayRef shape) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    throw Error(
        fmt::format("{}: expected a tensor '{}' of shape [{}], found none", origin, name, fmt::join(shape, ", ")));
  }
  if (found->second.sizes() != shape) {
    throw Error(fmt::format("{}: expected '{}' to have the shape [{}], found [{}]", origin, name,
                            fmt::join(shape, ", "), fmt::join(found->second.sizes(), ", ")));
  }
  if (!found->second.is_floating_point()) {
    throw Error(fmt::format("{}: expected floating-point numbers in '{}', found {}", origin, name,
                            c10::toString(found->second.scalar_type())));
  }
  return found->second.to(at::kFloat);
}

std::string hash_of_weights(const std::filesystem::path& path, const std::filesystem::path& hashes) {
  const TensorSource source(path);
  std::optional<ContentIds> known;
  if (!hashes.empty()) known.emplace(hashes);
  std::string all;
  for (const auto& file : source.files()) all += known ? known->hash_of(file.path()) : sha256_of_file(file.path());
  try {
    if (known) known->flush();
  } catch (const Error& problem) {
    log_warning(fmt::format("the model's hash is not remembered for the next start: {}", problem.what()));
  }
  return source.files().size() == 1 ? all : sha256(all);
}

Transformer<FrozenLinear> frozen_blocks(const BlockShape& shape, const std::string& prefix, const NamedTensors& source,
                                        at::Device device, at::ScalarType products) {
  return Builder<FrozenLinear>(source, device, products).transformer(prefix, shape);
}
Transformer<Linear> trainable_blocks(const BlockShape& shape, const std::string& prefix, const NamedTensors& source) {
  return Builder<Linear>(source, at::kCPU, at::kFloat).transformer(prefix, shape);
}

TextWeights<FrozenLinear> frozen_text_weights(const ClipConfig& config, const NamedTensors& source, at::Device device,
                                              at::ScalarType products) {
  return text_weights<FrozenLinear>(config, source, device, products);
}
TextWeights<Linear> trainable_text_weights(const ClipConfig& config, const NamedTensors& source) {
  return text_weights<Linear>(config, source, at::kCPU, at::kFloat);
}
VitWeights<FrozenLinear> frozen_vit_weights(const ClipConfig& config, const NamedTensors& source, at::Device device,
                                            at::ScalarType products) {
  return vit_weights<FrozenLinear>(config, source, device, products);
}
VitWeights<Linear> trainable_vit_weights(const ClipConfig& config, const NamedTensors& source) {
  return vit_weights<Linear>(config, source, at::kCPU, at::kFloat);
}

TensorMap random_text_tensors(const ClipConfig& config, std::uint64_t seed) {
  TensorMap tensors;
  const auto& text = config.text;
  Drawer draw{tensors, KeyedRandom(seed, "clip.text")};
  draw.matrix("text_model.embeddings.token_embedding.weight", {text.vocabulary, text.width}, 0.02);
  draw.matrix("text_model.embeddings.position_embedding.weight", {text.context_length, text.width}, 0.01);
  draw.blocks(kTextLayers, shape_of(text));
  draw.norm("text_model.final_layer_norm", text.width);
  draw.matrix("text_projection.weight", {config.joint_width, text.width},
              1.0 / std::sqrt(static_cast<double>(text.width)));
  return tensors;
}

TensorMap random_vit_tensors(const ClipConfig& config, std::uint64_t seed) {
  TensorMap tensors;
  const auto& vision = config.vision;
  const double scale = 1.0 / std::sqrt(static_cast<double>(vision.width));
  const auto columns = 3 * vision.patch * vision.patch;
  Drawer draw{tensors, KeyedRandom(seed, "clip.vision")};
  draw.matrix(kPatch, {vision.width, columns}, 1.0 / std::sqrt(3.0 * static_cast<double>(columns)));
  draw.matrix("vision_model.embeddings.class_embedding", {vision.width}, scale);
  draw.matrix("vision_model.embeddings.position_embedding.weight", {1 + cells_of(vision), vision.width}, scale);
  draw.norm("vision_model.pre_layrnorm", vision.width);
  draw.blocks(kVisionLayers, shape_of(vision));
  draw.norm("vision_model.post_layernorm", vision.width);
  draw.matrix("visual_projection.weight", {config.joint_width, vision.width}, scale);
  return tensors;
}

TensorMap parameters_of(const TextWeights<Linear>& weights) {
  TensorMap tensors;
  tensors["text_model.embeddings.token_embedding.weight"] = weights.tokens;
  tensors["text_model.embeddings.position_embedding.weight"] = weights.positions;
  add(tensors, kTextLayers, weights.transformer);
  add(tensors, "text_model.final_layer_norm", weights.final);
  add(tensors, "text_projection", weights.projection);
  return tensors;
}

TensorMap parameters_of(const VitWeights<Linear>& weights) {
  TensorMap tensors;
  tensors[kPatch] = weights.patch.weight;
  tensors["vision_model.embeddings.class_embedding"] = weights.class_token;
  tensors["vision_model.embeddings.position_embedding.weight"] = weights.positions;
  add(tensors, "vision_model.pre_layrnorm", weights.before);
  add(tensors, kVisionLayers, weights.transformer);
  add(tensors, "vision_model.post_layernorm", weights.after);
  add(tensors, "visual_projection", weights.projection);
  return tensors;
}

TensorMap parameters_of(const Transformer<Linear>& transformer, const std::string& prefix) {
  TensorMap tensors;
  add(tensors, prefix, transformer);
  return tensors;
}

TensorMap hugging_face_tensors(const ClipConfig& config, const TensorMap& parameters) {
  TensorMap tensors;
  for (const auto& [name, tensor] : parameters) {
    const auto fused = name.find("qkv_proj");
    if (fused != std::string::npos) {
      const auto parts = tensor.detach().chunk(3, 0);
      for (std::size_t i = 0; i < 3; ++i) {
        tensors[std::string(name).replace(fused, 3, std::string(1, "qkv"[i]))] = parts[i];
      }
    } else if (name == kPatch) {
      const auto& vision = config.vision;
      tensors[name] = tensor.detach().reshape({vision.width, 3, vision.patch, vision.patch});
    } else {
      tensors[name] = tensor.detach();
    }
  }
  return tensors;
}

}  // namespace attune

#include "attune/tasks/mask_decoder.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr const char* kLayers = "decoder.layers.";
const std::string kHead = "decoder.transposed_convolution";

BlockShape shape_of(const MaskDecoderConfig& config) {
  return {config.width, config.hidden, config.layers, config.heads, Activation::kGelu, config.norm_epsilon};
}

/// Names and shapes of the head's weights; a bias has as many entries as there are output channels.
struct HeadLayer {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t outputs;
};
std::vector<HeadLayer> head_layers(const MaskDecoderConfig& config) {
  const std::int64_t width = config.width, patch = config.patch, step = patch / 4;
  if (!config.complex_head) return {{kHead, {width, 1, patch, patch}, 1}};
  return {{kHead + ".0", {width, width, 3, 3}, width},
          {kHead + ".2", {width, width / 2, step, step}, width / 2},
          {kHead + ".4", {width / 2, 1, step, step}, 1}};
}

/// One block on [B, T, width] that is normalised after each of its parts.
Tensor post_norm_block(const Block<Linear>& block, std::int64_t heads, const Tensor& rows) {
  const std::int64_t batch = rows.size(0), width = rows.size(2);
  const auto parts = block.qkv(rows).view({batch, -1, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind();
  const Tensor attended = block.norm1(rows + block.out(attend(parts[0], parts[1], parts[2])));
  return block.norm2(attended + block.fc2(at::relu(block.fc1(attended))));
}

}  // namespace

MaskDecoder::MaskDecoder(const MaskDecoderConfig& config, const NamedTensors& source, bool trains) : config_(config) {
  const auto leaf = [&](const std::string& name, at::IntArrayRef shape) {
    return source.take(name, shape).detach().clone(at::MemoryFormat::Contiguous).set_requires_grad(trains);
  };
  const auto layer = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    return Linear{leaf(name + ".weight", {out, in}), leaf(name + ".bias", {out})};
  };
  film_mul_ = layer("decoder.film_mul", config.width, config.joint_width);
  film_add_ = layer("decoder.film_add", config.width, config.joint_width);
  for (std::int64_t i = 0; i < config.layers; ++i) {
    reduces_.push_back(layer(fmt::format("decoder.reduces.{}", i), config.width, config.tower_width));
  }
  transformer_ = trainable_blocks(shape_of(config), kLayers, source);
  for (auto& [name, tensor] : parameters_of(transformer_, kLayers)) Tensor(tensor).set_requires_grad(trains);
  for (const HeadLayer& one : head_layers(config)) {
    head_[one.name + ".weight"] = leaf(one.name + ".weight", one.shape);
    head_[one.name + ".bias"] = leaf(one.name + ".bias", {one.outputs});
  }
}

Tensor MaskDecoder::to_pixels(const Tensor& cells) const {
  const auto weight = [&](const std::string& name) { return head_.at(name + ".weight"); };
  const auto bias = [&](const std::string& name) { return head_.at(name + ".bias"); };
  const auto transposed = [&](const Tensor& input, const std::string& name) {
    const std::int64_t step = weight(name).size(2);
    return at::conv_transpose2d(input, weight(name), bias(name), {step, step});
  };
  if (!config_.complex_head) return transposed(cells, kHead);
  const Tensor mixed = at::relu(at::conv2d(cells, weight(kHead + ".0"), bias(kHead + ".0"), 1, 1));
  return transposed(at::relu(transposed(mixed, kHead + ".2")), kHead + ".4");
}

Tensor MaskDecoder::logits(const std::vector<Tensor>& activations, const Tensor& conditions) const {
  Tensor rows;
  for (std::size_t i = 0; i < activations.size(); ++i) {
    const Tensor reduced = reduces_.at(i)(activations[i]);
    rows = rows.defined() ? reduced + rows : reduced;
    if (static_cast<std::int64_t>(i) == config_.conditioned) {
      rows = film_mul_(conditions).unsqueeze(1) * rows + film_add_(conditions).unsqueeze(1);
    }
    rows = post_norm_block(transformer_.blocks[i], transformer_.heads, rows);
  }
  const std::int64_t cells = rows.size(1) - 1, side = std::llround(std::sqrt(static_cast<double>(cells)));
  if (side * side != cells) throw Error(fmt::format("mask decoder: expected the cells of a square, found {}", cells));
  const Tensor grid = rows.narrow(1, 1, cells).transpose(1, 2).reshape({rows.size(0), config_.width, side, side});
  return to_pixels(grid).squeeze(1);
}

TensorMap MaskDecoder::parameters() const {
  TensorMap tensors = parameters_of(transformer_, kLayers);
  const auto add = [&](const std::string& name, const Linear& layer) {
    tensors[name + ".weight"] = layer.weight;
    tensors[name + ".bias"] = layer.bias;
  };
  add("decoder.film_mul", film_mul_);
  add("decoder.film_add", film_add_);
  for (std::size_t i = 0; i < reduces_.size(); ++i) add(fmt::format("decoder.reduces.{}", i), reduces_[i]);
  tensors.insert(head_.begin(), head_.end());
  return tensors;
}

TensorMap random_decoder_tensors(const MaskDecoderConfig& config, std::uint64_t seed) {
  TensorMap tensors;
  KeyedRandom random(seed, "mask decoder");
  const auto matrix = [&](const std::string& name, const std::vector<std::int64_t>& shape, std::int64_t outputs,
                          std::int64_t inputs, double scale) {
    const double bound = scale * std::sqrt(6.0 / static_cast<double>(inputs + outputs));
    tensors[name + ".weight"] = uniform(shape, -bound, bound, random);
    tensors[name + ".bias"] = at::zeros({outputs});
  };
  const auto layer = [&](const std::string& name, std::int64_t out, std::int64_t in, double scale = 1) {
    matrix(name, {out, in}, out, in, scale);
  };
  // Conditions are as long as text features are, and the factor begins near 1.
  layer("decoder.film_mul", config.width, config.joint_width, 0.1);
  tensors["decoder.film_mul.bias"].fill_(1);
  layer("decoder.film_add", config.width, config.joint_width, 0.1);
  for (std::int64_t i = 0; i < config.layers; ++i) {
    layer(fmt::format("decoder.reduces.{}", i), config.width, config.tower_width);
    const std::string name = fmt::format("{}{}.", kLayers, i);
    for (const char* norm : {"layer_norm1", "layer_norm2"}) {
      tensors[name + norm + ".weight"] = at::ones({config.width});
      tensors[name + norm + ".bias"] = at::zeros({config.width});
    }
    layer(name + "self_attn.qkv_proj", 3 * config.width, config.width);
    layer(name + "self_attn.out_proj", config.width, config.width);
    layer(name + "mlp.fc1", config.hidden, config.width);
    layer(name + "mlp.fc2", config.width, config.hidden);
  }
  for (const HeadLayer& one : head_layers(config)) {
    // A pixel of a transposed convolution with steps of its own size is the product of one cell's channels.
    const bool plain = one.name.ends_with(".0");
    const std::int64_t inputs = plain ? 9 * config.width : one.shape[0];
    matrix(one.name, one.shape, one.outputs, inputs, 1);
  }
  return tensors;
}

}  // namespace attune

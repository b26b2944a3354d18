#include "attune/domains/mae.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/clip/vit.h"
#include "attune/domains/domain_folder.h"

namespace attune {
namespace {

constexpr const char* kPatchWeight = "vit.embeddings.patch_embeddings.projection.weight";
constexpr const char* kClassToken = "vit.embeddings.cls_token";
constexpr const char* kPositions = "vit.embeddings.position_embeddings";
constexpr const char* kMaskToken = "decoder.mask_token";
constexpr const char* kDecoderPositions = "decoder.decoder_pos_embed";
constexpr double kTargetEpsilon = 1e-6;

/// The rows at `cells` [B, n] of rows [B, cells, width].
Tensor rows_at(const Tensor& rows, const Tensor& cells) {
  return rows.gather(1, cells.unsqueeze(2).expand({-1, -1, rows.size(2)}));
}

/// Channels of a patch's pixels first (as a convolution has them) or last (as the loss has them).
Tensor channels_last(const Tensor& patches, std::int64_t patch) {
  return patches.unflatten(2, {3, patch * patch}).transpose(2, 3).flatten(2);
}
Tensor channels_first(const Tensor& patches, std::int64_t patch) {
  return patches.unflatten(2, {patch * patch, 3}).transpose(2, 3).flatten(2);
}

Tensor through(const Transformer<Linear>& transformer, Tensor sequence) {
  for (const Block<Linear>& block : transformer.blocks) {
    sequence = full_block(block, transformer.heads, transformer.activation, sequence, sequence.size(1));
  }
  return sequence;
}

/// Draws the parameters one after the other.
struct Drawer {
  TensorMap& tensors;
  KeyedRandom random;

  void layer(const std::string& name, std::int64_t out, std::int64_t in) {
    const double bound = std::sqrt(6.0 / static_cast<double>(in + out));
    tensors[name + ".weight"] = uniform({out, in}, -bound, bound, random);
    tensors[name + ".bias"] = at::zeros({out});
  }
  void norm(const std::string& name, std::int64_t width) {
    tensors[name + ".weight"] = at::ones({width});
    tensors[name + ".bias"] = at::zeros({width});
  }
  void token(const std::string& name, std::int64_t width) { tensors[name] = normal({1, 1, width}, 0.0, 0.02, random); }
  void blocks(const std::string& prefix, const BlockShape& shape) {
    for (std::int64_t i = 0; i < shape.layers; ++i) {
      const std::string name = fmt::format("{}{}.", prefix, i);
      norm(name + "layer_norm1", shape.width);
      layer(name + "self_attn.qkv_proj", 3 * shape.width, shape.width);
      layer(name + "self_attn.out_proj", shape.width, shape.width);
      norm(name + "layer_norm2", shape.width);
      layer(name + "mlp.fc1", shape.hidden, shape.width);
      layer(name + "mlp.fc2", shape.width, shape.hidden);
    }
  }
};

TensorMap random_parameters(const MaeConfig& config, std::uint64_t seed) {
  TensorMap tensors;
  Drawer draw{tensors, KeyedRandom(seed, "mae.weights")};
  const auto pixels = 3 * config.patch * config.patch;
  draw.layer("vit.embeddings.patch_embeddings.projection", config.encoder.width, pixels);
  draw.token(kClassToken, config.encoder.width);
  draw.blocks("encoder.", config.encoder);
  draw.norm("vit.layernorm", config.encoder.width);
  draw.layer("decoder.decoder_embed", config.decoder.width, config.encoder.width);
  draw.token(kMaskToken, config.decoder.width);
  draw.blocks("decoder.", config.decoder);
  draw.norm("decoder.decoder_norm", config.decoder.width);
  draw.layer("decoder.decoder_pred", pixels, config.decoder.width);
  return tensors;
}

/// The parameters and positions of a folder, under our names.
TensorMap own_tensors(const MaeConfig& config, const NamedTensors& source) {
  TensorMap tensors = source.tensors;
  const auto add = [&](const std::string& from, const BlockShape& shape, const std::string& to) {
    for (const auto& [name, tensor] : block_tensors(source, from, kVitNames, shape).tensors)
      tensors[to + name] = tensor;
  };
  add("vit.encoder.layer.", config.encoder, "encoder.");
  // Newer releases of transformers write the second form.
  const bool early = source.contains("decoder.decoder_layers.0.layernorm_before.weight");
  add(early ? "decoder.decoder_layers." : "decoder.decoder_encoder.layer.", config.decoder, "decoder.");
  tensors[kPatchWeight] = patch_matrix(source, kPatchWeight, config.encoder.width, config.patch);
  return tensors;
}

}  // namespace

std::int64_t MaeConfig::visible() const {
  return static_cast<std::int64_t>(static_cast<double>(cells()) * (1.0 - mask_ratio));
}

void check_mae(const MaeConfig& config) {
  const auto fits = [](const BlockShape& shape) {
    return shape.width > 0 && shape.layers > 0 && shape.heads > 0 && shape.hidden > 0 && shape.width % 4 == 0 &&
           shape.width % shape.heads == 0;
  };
  if (config.patch < 1 || config.image_size < config.patch || config.image_size % config.patch != 0 ||
      !fits(config.encoder) || !fits(config.decoder)) {
    throw UsageError(
        fmt::format("mae: expected a picture of whole patches, at least one block, and widths that 4 and their heads "
                    "divide, found {} pixels, patch {}, encoder {} x {} with {} heads, decoder {} x {} with {} heads",
                    config.image_size, config.patch, config.encoder.layers, config.encoder.width, config.encoder.heads,
                    config.decoder.layers, config.decoder.width, config.decoder.heads));
  }
  if (!(config.mask_ratio > 0.0 && config.mask_ratio < 1.0) || config.visible() < 1 ||
      config.visible() >= config.cells()) {
    throw UsageError(
        fmt::format("mae: expected a mask that leaves some of {} patches visible and hides some, found "
                    "a share of {}",
                    config.cells(), config.mask_ratio));
  }
}

Tensor sine_positions(std::int64_t side, std::int64_t width) {
  const std::int64_t quarter = width / 4;
  const Tensor rates = at::pow(10000.0, -at::arange(quarter, at::kDouble) / static_cast<double>(quarter));
  const Tensor angles = at::arange(side, at::kDouble).unsqueeze(1) * rates;
  const Tensor waves = at::cat({angles.sin(), angles.cos()}, 1);  // [side, width / 2]
  const Tensor columns = waves.unsqueeze(0).expand({side, side, width / 2});
  const Tensor rows = waves.unsqueeze(1).expand({side, side, width / 2});
  const Tensor cells = at::cat({columns, rows}, 2).view({1, side * side, width}).to(at::kFloat);
  return at::cat({at::zeros({1, 1, width}), cells}, 1);
}

Mae::Mae(const MaeConfig& config, std::uint64_t seed) : config_(config) {
  check_mae(config);
  positions_ = sine_positions(config.image_size / config.patch, config.encoder.width);
  decoder_positions_ = sine_positions(config.image_size / config.patch, config.decoder.width);
  load_parameters(random_parameters(config, seed));
}

Mae::Mae(const MaeConfig& config, const NamedTensors& source) : config_(config) {
  check_mae(config);
  positions_ = source.take(kPositions, {1, 1 + config.cells(), config.encoder.width});
  decoder_positions_ = source.take(kDecoderPositions, {1, 1 + config.cells(), config.decoder.width});
  load_parameters(own_tensors(config, source));
}

void Mae::load_parameters(const TensorMap& parameters) {
  const NamedTensors source{parameters, "masked autoencoder"};
  const auto leaf = [&](const std::string& name, at::IntArrayRef shape) {
    return source.take(name, shape).detach().clone(at::MemoryFormat::Contiguous).set_requires_grad(true);
  };
  const auto layer = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    return Linear{leaf(name + ".weight", {out, in}), leaf(name + ".bias", {out})};
  };
  const auto norm = [&](const std::string& name, const BlockShape& shape) {
    return LayerNorm{leaf(name + ".weight", {shape.width}), leaf(name + ".bias", {shape.width}), shape.epsilon};
  };
  const auto width = config_.encoder.width, decoder_width = config_.decoder.width;
  const auto pixels = 3 * config_.patch * config_.patch;
  patch_ = layer("vit.embeddings.patch_embeddings.projection", width, pixels);
  class_token_ = leaf(kClassToken, {1, 1, width});
  encoder_ = trainable_blocks(config_.encoder, "encoder.", source);
  encoder_norm_ = norm("vit.layernorm", config_.encoder);
  embed_ = layer("decoder.decoder_embed", decoder_width, width);
  mask_token_ = leaf(kMaskToken, {1, 1, decoder_width});
  decoder_ = trainable_blocks(config_.decoder, "decoder.", source);
  decoder_norm_ = norm("decoder.decoder_norm", config_.decoder);
  predict_ = layer("decoder.decoder_pred", pixels, decoder_width);
}

TensorMap Mae::parameters() const {
  TensorMap tensors = parameters_of(encoder_, "encoder.");
  tensors.merge(parameters_of(decoder_, "decoder."));
  const auto add = [&](const std::string& name, const auto& layer) {
    tensors[name + ".weight"] = layer.weight;
    tensors[name + ".bias"] = layer.bias;
  };
  add("vit.embeddings.patch_embeddings.projection", patch_);
  add("vit.layernorm", encoder_norm_);
  add("decoder.decoder_embed", embed_);
  add("decoder.decoder_norm", decoder_norm_);
  add("decoder.decoder_pred", predict_);
  tensors[kClassToken] = class_token_;
  tensors[kMaskToken] = mask_token_;
  return tensors;
}

Tensor Mae::encode(const Tensor& pixels, const Tensor& visible) const {
  const auto batch = pixels.size(0), width = config_.encoder.width;
  const Tensor places = positions_.narrow(1, 1, config_.cells()).expand({batch, -1, -1});
  const Tensor cells = patch_(rows_at(patches_of(pixels, config_.patch), visible)) + rows_at(places, visible);
  const Tensor first = (class_token_ + positions_.narrow(1, 0, 1)).expand({batch, 1, width});
  return encoder_norm_(through(encoder_, at::cat({first, cells}, 1)));
}

Tensor Mae::decode(const Tensor& encoded, const Tensor& visible, const Tensor& masked) const {
  const Tensor rows = embed_(encoded);
  const auto batch = rows.size(0), width = rows.size(2), seen = visible.size(1);
  const Tensor cells = mask_token_.expand({batch, config_.cells(), width})
                           .scatter(1, visible.unsqueeze(2).expand({batch, seen, width}), rows.narrow(1, 1, seen));
  const Tensor sequence = through(decoder_, at::cat({rows.narrow(1, 0, 1), cells}, 1) + decoder_positions_);
  return predict_(decoder_norm_(rows_at(sequence, masked + 1)));
}

Tensor Mae::hidden_patches(const Tensor& pixels, const Tensor& order) const {
  const auto seen = config_.visible();
  const Tensor hidden = rows_at(patches_of(pixels, config_.patch), order.narrow(1, seen, config_.cells() - seen));
  return channels_last(hidden, config_.patch);
}

Tensor Mae::targets(const Tensor& pixels, const Tensor& order) const {
  const Tensor patches = hidden_patches(pixels, order);
  if (!config_.normalise_targets) return patches;
  const Tensor mean = patches.mean(2, true), variance = patches.var(2, true, true);
  return (patches - mean) / (variance + kTargetEpsilon).sqrt();
}

MaeForward Mae::forward(const Tensor& pixels, const Tensor& order) const {
  const auto seen = config_.visible();
  const Tensor visible = order.narrow(1, 0, seen), masked = order.narrow(1, seen, config_.cells() - seen);
  const Tensor predicted = decode(encode(pixels, visible), visible, masked);
  return {(predicted - targets(pixels, order)).square().mean(), predicted};
}

TensorMap hugging_face_mae(const MaeConfig& config, const TensorMap& values) {
  TensorMap tensors = named_blocks(values, "encoder.", "vit.encoder.layer.", kVitNames);
  tensors.merge(named_blocks(values, "decoder.", "decoder.decoder_layers.", kVitNames));
  for (const auto& [name, tensor] : values) {
    const bool outside = name.starts_with("vit.") || name.starts_with("decoder.decoder_") || name == kMaskToken;
    if (outside) tensors[name] = tensor.detach();
  }
  tensors[kPatchWeight] = tensors.at(kPatchWeight).reshape({config.encoder.width, 3, config.patch, config.patch});
  return tensors;
}

Tensor put_patches(const Tensor& pixels, const Tensor& patches, const Tensor& cells, std::int64_t patch) {
  const auto batch = pixels.size(0), side = pixels.size(2) / patch;
  const Tensor all = patches_of(pixels, patch).clone();
  all.scatter_(1, cells.unsqueeze(2).expand({-1, -1, all.size(2)}), channels_first(patches, patch));
  return all.view({batch, side, side, 3, patch, patch}).permute({0, 3, 1, 4, 2, 5}).reshape(pixels.sizes());
}

void write_mae_folder(const std::filesystem::path& folder, const Mae& mae, const Preprocess& preprocess) {
  const MaeConfig& config = mae.config();
  TensorMap tensors = hugging_face_mae(config, mae.parameters());
  tensors[kPositions] = mae.positions();
  tensors[kDecoderPositions] = mae.decoder_positions();
  write_json(folder / "config.json", {{"architectures", {"ViTMAEForPreTraining"}},
                                      {"model_type", "vit_mae"},
                                      {"image_size", config.image_size},
                                      {"patch_size", config.patch},
                                      {"num_channels", 3},
                                      {"hidden_size", config.encoder.width},
                                      {"intermediate_size", config.encoder.hidden},
                                      {"num_hidden_layers", config.encoder.layers},
                                      {"num_attention_heads", config.encoder.heads},
                                      {"hidden_act", "gelu"},
                                      {"layer_norm_eps", config.encoder.epsilon},
                                      {"qkv_bias", true},
                                      {"decoder_hidden_size", config.decoder.width},
                                      {"decoder_intermediate_size", config.decoder.hidden},
                                      {"decoder_num_hidden_layers", config.decoder.layers},
                                      {"decoder_num_attention_heads", config.decoder.heads},
                                      {"mask_ratio", config.mask_ratio},
                                      {"norm_pix_loss", config.normalise_targets},
                                      {"dtype", "float32"}});
  const Json size = {{"height", preprocess.size}, {"width", preprocess.size}};
  write_json(folder / "preprocessor_config.json", {{"image_processor_type", "ViTImageProcessor"},
                                                   {"do_resize", true},
                                                   {"size", size},
                                                   {"resample", preprocess.filter == Filter::kBicubic ? 3 : 2},
                                                   {"do_rescale", true},
                                                   {"rescale_factor", 1.0 / 255.0},
                                                   {"do_normalize", true},
                                                   {"image_mean", preprocess.mean},
                                                   {"image_std", preprocess.deviation}});
  save_tensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace attune

#include "attune/clip/open_clip.h"

#include <array>
#include <string_view>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

using Rename = std::pair<std::string_view, std::string_view>;

constexpr std::array<Rename, 12> kParts = {{{"attn.in_proj_weight", "self_attn.qkv_proj.weight"},
                                            {"attn.in_proj_bias", "self_attn.qkv_proj.bias"},
                                            {"attn.out_proj.weight", "self_attn.out_proj.weight"},
                                            {"attn.out_proj.bias", "self_attn.out_proj.bias"},
                                            {"ln_1.weight", "layer_norm1.weight"},
                                            {"ln_1.bias", "layer_norm1.bias"},
                                            {"ln_2.weight", "layer_norm2.weight"},
                                            {"ln_2.bias", "layer_norm2.bias"},
                                            {"mlp.c_fc.weight", "mlp.fc1.weight"},
                                            {"mlp.c_fc.bias", "mlp.fc1.bias"},
                                            {"mlp.c_proj.weight", "mlp.fc2.weight"},
                                            {"mlp.c_proj.bias", "mlp.fc2.bias"}}};

constexpr std::array<Rename, 10> kWhole = {
    {{"token_embedding.weight", "text_model.embeddings.token_embedding.weight"},
     {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
     {"ln_final.weight", "text_model.final_layer_norm.weight"},
     {"ln_final.bias", "text_model.final_layer_norm.bias"},
     {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
     {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
     {"visual.ln_pre.weight", "vision_model.pre_layrnorm.weight"},
     {"visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"},
     {"visual.ln_post.weight", "vision_model.post_layernorm.weight"},
     {"visual.ln_post.bias", "vision_model.post_layernorm.bias"}}};

/// "<blocks>3.ln_1.weight" -> "<layers>3.layer_norm1.weight"; an empty text where the name is none of a block.
std::string rename_block(std::string_view name, std::string_view blocks, std::string_view layers) {
  if (!name.starts_with(blocks)) return {};
  const auto rest = name.substr(blocks.size());
  const auto dot = rest.find('.');
  if (dot == std::string_view::npos) return {};
  for (const auto& [from, to] : kParts) {
    if (rest.substr(dot + 1) == from) return fmt::format("{}{}.{}", layers, rest.substr(0, dot), to);
  }
  return {};
}

std::string rename(std::string_view name) {
  for (const auto& [from, to] : kWhole) {
    if (name == from) return std::string(to);
  }
  std::string block = rename_block(name, "transformer.resblocks.", "text_model.encoder.layers.");
  if (block.empty()) block = rename_block(name, "visual.transformer.resblocks.", "vision_model.encoder.layers.");
  return block.empty() ? std::string(name) : block;
}

}  // namespace

NamedTensors from_open_clip(const NamedTensors& source) {
  NamedTensors result{{}, source.origin};
  for (const auto& [full, tensor] : source.tensors) {
    // Models whose text tower is a module of its own put its name in front.
    const std::string_view name = full.starts_with("text.") ? std::string_view(full).substr(5) : full;
    if ((name == "text_projection" || name == "visual.proj") && tensor.dim() == 2) {
      result.tensors[name == "visual.proj" ? "visual_projection.weight" : "text_projection.weight"] = tensor.t();
    } else if (name == "visual.conv1.weight" && source.contains("visual.class_embedding")) {
      result.tensors["vision_model.embeddings.patch_embedding.weight"] = tensor;
    } else {
      result.tensors[rename(name)] = tensor;
    }
  }
  return result;
}

}  // namespace attune

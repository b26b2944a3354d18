#include "attune/clip/convert.h"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/clip/open_clip.h"
#include "attune/formats/torch_archive.h"

namespace attune {
namespace {

constexpr std::int64_t kHeadWidth = 64;

const Tensor& tensor_at(const NamedTensors& source, const std::string& name, std::int64_t dimensions) {
  const auto found = source.tensors.find(name);
  if (found == source.tensors.end())
    throw Error(fmt::format("{}: expected a tensor '{}', found none", source.origin, name));
  if (found->second.dim() != dimensions || found->second.numel() == 0) {
    throw Error(fmt::format("{}: expected '{}' to have {} dimensions, found the shape [{}]", source.origin, name,
                            dimensions, fmt::join(found->second.sizes(), ", ")));
  }
  return found->second;
}

/// How many of "<before>0<after>", "<before>1<after>", ... there are.
std::int64_t count_layers(const NamedTensors& source, const std::string& before, const std::string& after) {
  std::int64_t layers = 0;
  while (source.contains(fmt::format("{}{}{}", before, layers, after))) ++layers;
  if (layers == 0) throw Error(fmt::format("{}: expected a tensor '{}0{}', found none", source.origin, before, after));
  return layers;
}

std::int64_t heads_of(std::int64_t width) {
  return std::max<std::int64_t>(1, width / kHeadWidth);
}

std::int64_t square_root(std::int64_t cells, const NamedTensors& source) {
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(cells))));
  if (side < 1 || side * side != cells) {
    throw Error(fmt::format("{}: expected positions for a square of cells, found {}", source.origin, cells));
  }
  return side;
}

VisionConfig deduce_vision(const NamedTensors& source) {
  VisionConfig vision;
  if (source.contains("visual.proj")) {
    const Tensor& patch = tensor_at(source, "visual.conv1.weight", 4);
    vision.width = patch.size(0);
    vision.patch = patch.size(2);
    vision.layers = count_layers(source, "visual.transformer.resblocks.", ".attn.in_proj_weight");
    vision.heads = heads_of(vision.width);
    vision.hidden = tensor_at(source, "visual.transformer.resblocks.0.mlp.c_fc.weight", 2).size(0);
    const auto cells = tensor_at(source, "visual.positional_embedding", 2).size(0) - 1;
    vision.image_size = square_root(cells, source) * vision.patch;
    return vision;
  }
  vision.kind = VisionConfig::Kind::kResNet;
  vision.width = tensor_at(source, "visual.layer1.0.conv1.weight", 4).size(0);
  for (int stage = 1; stage <= 4; ++stage) {
    vision.stages.push_back(count_layers(source, fmt::format("visual.layer{}.", stage), ".conv1.weight"));
  }
  vision.heads = heads_of(vision.width * 32);
  const auto cells = tensor_at(source, "visual.attnpool.positional_embedding", 2).size(0) - 1;
  vision.image_size = square_root(cells, source) * 32;
  return vision;
}

/// Copies the tokenizer under the name that readers look for.
void copy_tokenizer(const std::filesystem::path& tokenizer, const std::filesystem::path& folder) {
  if (tokenizer.empty()) return;
  const bool original = tokenizer.extension() == ".gz";
  write_file(folder / (original ? "bpe_simple_vocab_16e6.txt.gz" : "tokenizer.json"), read_file(tokenizer));
}

bool is_network_tensor(const std::string& name) {
  return name != "input_resolution" && name != "context_length" && name != "vocab_size";
}

void write_open_clip_folder(const std::filesystem::path& folder, const ClipConfig& config, const NamedTensors& source,
                            at::ScalarType type) {
  TensorMap tensors;
  for (const auto& [name, tensor] : source.tensors) {
    if (!is_network_tensor(name)) continue;
    tensors[name] = tensor.is_floating_point() ? tensor.to(type) : tensor;
  }
  const auto& [kind, image_size, width, layers, heads, hidden, patch, stages, activation, epsilon] = config.vision;
  const Preprocess preprocess;
  const Json json = {
      {"model_cfg",
       {{"embed_dim", config.joint_width},
        {"quick_gelu", activation == Activation::kQuickGelu},
        {"vision_cfg",
         {{"image_size", image_size}, {"layers", stages}, {"width", width}, {"head_width", width * 32 / heads}}},
        {"text_cfg",
         {{"context_length", config.text.context_length},
          {"vocab_size", config.text.vocabulary},
          {"width", config.text.width},
          {"heads", config.text.heads},
          {"layers", config.text.layers}}}}},
      {"preprocess_cfg", {{"mean", preprocess.mean}, {"std", preprocess.deviation}, {"interpolation", "bicubic"}}}};
  save_tensors(folder / "open_clip_model.safetensors", tensors, {{"format", "pt"}});
  write_json(folder / "open_clip_config.json", json);
}

}  // namespace

ClipConfig deduce_config(const NamedTensors& source) {
  ClipConfig config;
  config.name = "openai";
  const Tensor& projection = tensor_at(source, "text_projection", 2);
  config.joint_width = projection.size(1);
  config.text.width = projection.size(0);
  config.text.heads = heads_of(config.text.width);
  config.text.layers = count_layers(source, "transformer.resblocks.", ".attn.in_proj_weight");
  config.text.hidden = tensor_at(source, "transformer.resblocks.0.mlp.c_fc.weight", 2).size(0);
  config.text.vocabulary = tensor_at(source, "token_embedding.weight", 2).size(0);
  config.text.context_length = tensor_at(source, "positional_embedding", 2).size(0);
  config.vision = deduce_vision(source);
  return config;
}

void convert_tensors(const NamedTensors& source, const std::filesystem::path& folder,
                     const std::filesystem::path& tokenizer, at::ScalarType type) {
  const ClipConfig config = deduce_config(source);
  if (config.vision.kind == VisionConfig::Kind::kResNet) {
    write_open_clip_folder(folder, config, source, type);
    copy_tokenizer(tokenizer, folder);
    return;
  }
  const NamedTensors renamed = from_open_clip(source);
  FolderParts parts;
  parts.config = config;
  parts.preprocess.size = static_cast<int>(config.vision.image_size);
  parts.start = config.text.vocabulary - 2;
  parts.end = config.text.vocabulary - 1;
  // Building the towers checks every name and shape before anything is written.
  TensorMap parameters = parameters_of(trainable_text_weights(config, renamed));
  parameters.merge(parameters_of(trainable_vit_weights(config, renamed)));
  parameters["logit_scale"] = renamed.take("logit_scale", {});
  write_hugging_face_folder(folder, parts, parameters, type);
  copy_tokenizer(tokenizer, folder);
}

void convert_archive(const std::filesystem::path& archive, const std::filesystem::path& folder,
                     const std::filesystem::path& tokenizer, at::ScalarType type) {
  const auto read = read_torch_archive(archive);
  NamedTensors source{{}, archive.string()};
  for (const auto& [name, tensor] : read) {
    const bool wrapped = name.starts_with("state_dict.");
    source.tensors[wrapped ? name.substr(11) : name] = borrow(tensor.view());
  }
  convert_tensors(source, folder, tokenizer, type);
}

}  // namespace attune

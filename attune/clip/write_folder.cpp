#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/clip/weights.h"

namespace attune {
namespace {

const char* name_of_activation(Activation activation) {
  return activation == Activation::kQuickGelu ? "quick_gelu" : "gelu";
}

Json text_json(const FolderParts& parts) {
  const auto& text = parts.config.text;
  // An end id of 2 is how the format says "the largest token id is pooled".
  const std::int64_t end = text.pooling == Pooling::kLargestId ? 2 : parts.end;
  return {{"model_type", "clip_text_model"},
          {"vocab_size", text.vocabulary},
          {"hidden_size", text.width},
          {"intermediate_size", text.hidden},
          {"num_hidden_layers", text.layers},
          {"num_attention_heads", text.heads},
          {"max_position_embeddings", text.context_length},
          {"hidden_act", name_of_activation(text.activation)},
          {"layer_norm_eps", text.norm_epsilon},
          {"projection_dim", parts.config.joint_width},
          {"bos_token_id", parts.start},
          {"eos_token_id", end},
          {"pad_token_id", parts.end}};
}

Json vision_json(const FolderParts& parts) {
  const auto& vision = parts.config.vision;
  return {{"model_type", "clip_vision_model"},
          {"image_size", vision.image_size},
          {"patch_size", vision.patch},
          {"num_channels", 3},
          {"hidden_size", vision.width},
          {"intermediate_size", vision.hidden},
          {"num_hidden_layers", vision.layers},
          {"num_attention_heads", vision.heads},
          {"hidden_act", name_of_activation(vision.activation)},
          {"layer_norm_eps", vision.norm_epsilon},
          {"projection_dim", parts.config.joint_width}};
}

Json preprocess_json(const Preprocess& preprocess) {
  return {{"image_processor_type", "CLIPImageProcessor"},
          {"do_convert_rgb", true},
          {"do_resize", true},
          {"size", {{"shortest_edge", preprocess.size}}},
          {"resample", preprocess.filter == Filter::kBicubic ? 3 : 2},
          {"do_center_crop", true},
          {"crop_size", {{"height", preprocess.size}, {"width", preprocess.size}}},
          {"do_rescale", true},
          {"rescale_factor", 1.0 / 255.0},
          {"do_normalize", true},
          {"image_mean", preprocess.mean},
          {"image_std", preprocess.deviation}};
}

}  // namespace

void write_hugging_face_folder(const std::filesystem::path& folder, const FolderParts& parts,
                               const TensorMap& parameters, at::ScalarType type) {
  if (parts.config.vision.kind != VisionConfig::Kind::kViT) {
    throw Error(folder.string() + ": a Hugging Face CLIP folder cannot hold a ResNet; write an OpenCLIP folder");
  }
  TensorMap tensors = hugging_face_tensors(parts.config, parameters);
  tensors.try_emplace("logit_scale", at::scalar_tensor(std::log(parts.logit_scale), at::kFloat));
  for (auto& [name, tensor] : tensors) tensor = tensor.to(type);
  const Json config = {{"architectures", {"CLIPModel"}},
                       {"model_type", "clip"},
                       {"projection_dim", parts.config.joint_width},
                       {"logit_scale_init_value", 2.6592},
                       {"dtype", type == at::kHalf ? "float16" : "float32"},
                       {"text_config", text_json(parts)},
                       {"vision_config", vision_json(parts)}};
  save_tensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  write_json(folder / "preprocessor_config.json", preprocess_json(parts.preprocess));
  if (!parts.tokenizer.empty()) write_file(folder / "tokenizer.json", read_file(parts.tokenizer));
  write_json(folder / "config.json", config);
}

}  // namespace attune

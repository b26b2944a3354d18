#include "attune/training/detector_model.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/folder.h"
#include "attune/domains/domain_vit.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPositions = "vision_model.embeddings.position_embedding.weight";
constexpr const char* kProjection = "visual_projection.weight";
// Logits begin at 10 (cosine - 0.4): about 0.02 where the cosine is 0, so that the many wrong answers cost little.
constexpr double kFirstShift = -0.4, kFirstScale = 9.0;

Tensor interpolated(const Tensor& positions, std::int64_t side) {
  const Tensor cells = positions.narrow(0, 1, positions.size(0) - 1);
  const auto from = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(cells.size(0)))));
  return at::cat({positions.narrow(0, 0, 1), interpolate_positions(cells, from, side)});
}

TensorMap first_heads(std::int64_t width, std::int64_t text, const Tensor& projection, std::uint64_t seed) {
  KeyedRandom random(seed, "detector.heads");
  const double spread = 1.0 / std::sqrt(static_cast<double>(width));
  return {{"layer_norm.weight", at::ones({width})},
          {"layer_norm.bias", at::zeros({width})},
          {"class_head.dense0.weight", projection.clone()},
          {"class_head.dense0.bias", at::zeros({text})},
          {"class_head.logit_shift.weight", at::zeros({1, width})},
          {"class_head.logit_shift.bias", at::full({1}, kFirstShift)},
          {"class_head.logit_scale.weight", at::zeros({1, width})},
          {"class_head.logit_scale.bias", at::full({1}, kFirstScale)},
          {"box_head.dense0.weight", normal({width, width}, 0, spread, random)},
          {"box_head.dense0.bias", at::zeros({width})},
          {"box_head.dense1.weight", normal({width, width}, 0, spread, random)},
          {"box_head.dense1.bias", at::zeros({width})},
          {"box_head.dense2.weight", at::zeros({4, width})},
          {"box_head.dense2.bias", at::zeros({4})}};
}

}  // namespace

DetectorModel::DetectorModel(const fs::path& base, std::int64_t size, const std::string& name, std::uint64_t seed)
    : base_(base) {
  const FolderDescription folder = describe_folder(base);
  config_ = folder.config;
  const VisionConfig before = config_.vision;
  if (folder.open_clip || before.kind != VisionConfig::Kind::kViT || config_.text.width != config_.joint_width) {
    throw Error(fmt::format(
        "{}: expected a Hugging Face folder of a CLIP with a vision transformer and a text tower of the joint width, "
        "found another one",
        base.string()));
  }
  if (size < before.patch || size % before.patch != 0 || size > 4096) {
    throw UsageError(fmt::format("size: expected a multiple of the patch {} up to 4096, found {}", before.patch, size));
  }
  config_.name = name;
  config_.vision.image_size = size;
  preprocess_ = folder.preprocess;
  preprocess_.size = static_cast<int>(size);
  NamedTensors source{map_tensors(base), base.string()};
  const std::int64_t cells = before.image_size / before.patch;
  const Tensor positions = source.take(kPositions, {1 + cells * cells, before.width});
  const Tensor projection = source.take(kProjection, {config_.joint_width, before.width});
  source.tensors[kPositions] = interpolated(positions, size / before.patch);
  for (auto& [key, tensor] : first_heads(before.width, config_.text.width, projection, seed))
    source.tensors[key] = tensor;
  weights_ = trainable_owl_weights(config_, source);
  frozen_.origin = source.origin;
  for (const auto& [key, tensor] : source.tensors) {
    if (key.starts_with("text_") || key == kProjection || key == "logit_scale") frozen_.tensors[key] = tensor;
  }
}

Tensor DetectorModel::queries(const std::vector<std::string>& sentences) const {
  LoadOptions text_only;
  text_only.image = false;
  return encode_sentences(load_model(base_, text_only), sentences);
}

TensorMap DetectorModel::state() const {
  TensorMap state;
  for (const auto& [name, tensor] : attune::parameters_of(weights_)) state[name] = tensor.detach().clone();
  return state;
}

void DetectorModel::load_state(const TensorMap& state) {
  const at::NoGradGuard no_gradients;
  const NamedTensors source{state, "checkpoint"};
  for (const Parameter& parameter : parameters()) {
    Tensor(parameter.value).copy_(source.take(parameter.name, parameter.value.sizes()));
  }
}

void DetectorModel::save_folder(const fs::path& folder) const {
  FolderParts parts;
  parts.config = config_;
  parts.preprocess = preprocess_;
  const Tokenizer tokenizer = Tokenizer::load(base_);
  parts.start = tokenizer.start();
  parts.end = tokenizer.end();
  parts.tokenizer = base_ / "tokenizer.json";
  TensorMap tensors = state();
  for (const auto& [name, tensor] : frozen_.tensors) tensors[name] = tensor;
  write_owl_folder(folder, parts, tensors, at::kHalf);
}

}  // namespace attune

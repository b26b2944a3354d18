#include "attune/training/segmenter_model.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kImageProjection = "visual_projection.weight";

bool is_segmenter(const fs::path& base) {
  const fs::path path = base / "config.json";
  return fs::exists(path) && json_or<std::string>(read_json(path), "model_type", "", path.string()) == "clipseg";
}

FolderDescription describe_base(const fs::path& base) {
  if (!is_segmenter(base)) return describe_folder(base);
  const ClipSegConfig config = describe_clipseg(base);
  return {config.clip, config.preprocess, /*open_clip=*/false};
}

ClipSegConfig config_of(const fs::path& base, const SegmenterShape& shape) {
  const FolderDescription folder = describe_base(base);
  ClipSegConfig config;
  config.clip = folder.config;
  config.preprocess = folder.preprocess;
  config.preprocess.size = static_cast<int>(shape.size);
  config.extract = shape.extract;
  const VisionConfig& vision = config.clip.vision;
  if (folder.open_clip || vision.kind != VisionConfig::Kind::kViT) {
    throw Error(fmt::format("{}: expected a Hugging Face folder of a CLIP with a vision transformer, found another one",
                            base.string()));
  }
  MaskDecoderConfig& decoder = config.decoder;
  decoder = {vision.width,       config.clip.joint_width,   shape.width, shape.hidden,
             shape.heads,        std::ssize(shape.extract), 0,           vision.patch,
             shape.complex_head, vision.norm_epsilon};
  // What a patch becomes must be a patch again, or masks would not be as large as pictures.
  const bool fits = decoder.cell_pixels() == vision.patch && shape.size >= vision.patch &&
                    shape.size % vision.patch == 0 && shape.size <= 4096 && shape.width % shape.heads == 0;
  if (!fits) {
    throw UsageError(
        fmt::format("segmenter: expected a size that patches of {} divide, a width that the heads divide, and patches "
                    "of 16 for the complex head, found {} pixels and a width of {} with {} heads",
                    vision.patch, shape.size, shape.width, shape.heads));
  }
  for (std::size_t i = 0; i < shape.extract.size(); ++i) {
    if (shape.extract[i] < (i == 0 ? 0 : shape.extract[i - 1] + 1) || shape.extract[i] >= vision.layers) {
      throw UsageError(
          fmt::format("extract: expected rising blocks from 0 to {}, found {}", vision.layers - 1, shape.extract[i]));
    }
  }
  return config;
}

NamedTensors base_tensors(const fs::path& base) {
  return is_segmenter(base) ? clipseg_tensors(base) : NamedTensors{map_tensors(base), base.string()};
}

NamedTensors first_decoder(const fs::path& base, const MaskDecoderConfig& config, std::uint64_t seed) {
  return is_segmenter(base) ? clipseg_tensors(base)
                            : NamedTensors{random_decoder_tensors(config, seed), "random start"};
}

}  // namespace

VisionConfig segmenter_base_vision(const fs::path& base) {
  return describe_base(base).config.vision;
}

SegmenterModel::SegmenterModel(const fs::path& base, const SegmenterShape& shape, std::uint64_t seed)
    : base_(base),
      config_(config_of(base, shape)),
      tower_(trainable_vit_weights(config_.clip, base_tensors(base))),
      decoder_(config_.decoder, first_decoder(base, config_.decoder, seed), /*trains=*/true) {
  const NamedTensors source = base_tensors(base);
  frozen_.origin = source.origin;
  for (const auto& [name, tensor] : source.tensors) {
    if (name.starts_with("text_") || name == kImageProjection || name == "logit_scale") frozen_.tensors[name] = tensor;
  }
}

Tensor SegmenterModel::logits(const Tensor& pixels, const Tensor& conditions) const {
  return decoder_.logits(extracted(config_.clip.vision, tower_, pixels, config_.extract), conditions);
}

Tensor SegmenterModel::conditions(const std::vector<std::string>& sentences) const {
  LoadOptions text_only;
  text_only.image = false;
  if (is_segmenter(base_)) return ClipSeg::load(base_, text_only).conditions(sentences);
  return sentence_features(load_model(base_, text_only), sentences);
}

std::vector<Parameter> SegmenterModel::parameters() const {
  return parameters_of(mask_parameters(tower_, decoder_));
}

TensorMap SegmenterModel::state() const {
  TensorMap state;
  for (const Parameter& one : parameters()) state[one.name] = one.value.detach().clone();
  return state;
}

void SegmenterModel::load_state(const TensorMap& state) {
  const at::NoGradGuard no_gradients;
  const NamedTensors source{state, "checkpoint"};
  for (const Parameter& one : parameters()) Tensor(one.value).copy_(source.take(one.name, one.value.sizes()));
}

void SegmenterModel::save_folder(const fs::path& folder) const {
  const Tokenizer tokenizer = Tokenizer::load(base_);
  TensorMap tensors = parameters_of(tower_);
  tensors.merge(decoder_.parameters());
  for (const auto& [name, tensor] : frozen_.tensors) tensors[name] = tensor;
  FolderParts parts;
  parts.start = tokenizer.start();
  parts.end = tokenizer.end();
  parts.tokenizer = base_ / "tokenizer.json";
  write_clipseg_folder(folder, config_, parts, tensors, at::kHalf);
}

}  // namespace attune

#include "attune/clip/model.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/log.h"
#include "attune/clip/folder.h"
#include "attune/clip/open_clip.h"
#include "attune/clip/resnet.h"
#include "attune/clip/text_tower.h"
#include "attune/clip/weights.h"
#include "attune/data/content_ids.h"
#include "attune/formats/hub.h"
#include "attune/formats/tensor_source.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

fs::path resolve(const std::string& name) {
  if (name.empty()) throw UsageError("model: expected a folder or 'pocket', found an empty name");
  if (name == "pocket" && !fs::exists(fs::path(name) / "config.json")) return models_folder() / name;
  if (is_hub_name(name)) return hub_folder(name);
  if (!fs::is_directory(name)) {
    throw Error(fmt::format("{}: expected a model folder, 'pocket' or hf-hub:ORGANISATION/NAME, found none", name));
  }
  return name;
}

/// The file of the weights, or the index of their shards.
fs::path weight_path(const fs::path& folder) {
  for (const char* stem : {"model", "open_clip_model"}) {
    for (const char* ending : {".safetensors", ".safetensors.index.json"}) {
      fs::path path = folder / (std::string(stem) + ending);
      if (fs::exists(path)) return path;
    }
  }
  throw Error(
      fmt::format("{}: expected model.safetensors, its shards with model.safetensors.index.json, or "
                  "open_clip_model.safetensors, found none",
                  folder.string()));
}

NamedTensors read_weights(const fs::path& folder, bool open_clip) {
  const fs::path path = weight_path(folder);
  NamedTensors source{map_tensors(path), path.string()};
  return open_clip ? from_open_clip(source) : source;
}

std::shared_ptr<const Tokenizer> read_tokenizer(const fs::path& folder) {
  const fs::path original = folder / "bpe_simple_vocab_16e6.txt.gz";
  const bool ours = fs::exists(folder / "tokenizer.json") || fs::exists(folder / "vocab.json");
  return std::make_shared<const Tokenizer>(Tokenizer::load(!ours && fs::exists(original) ? original : folder));
}

void check_tokenizer(const Tokenizer& tokenizer, const TextConfig& text, const fs::path& folder) {
  if (tokenizer.size() > text.vocabulary) {
    throw Error(fmt::format("{}: expected a tokenizer of at most {} entries, as the text tower has, found {}",
                            folder.string(), text.vocabulary, tokenizer.size()));
  }
}

double logit_scale_of(const NamedTensors& source) {
  const auto found = source.tensors.find("logit_scale");
  if (found == source.tensors.end() || found->second.numel() != 1) {
    throw Error(source.origin + ": expected one number 'logit_scale', found none");
  }
  const double scale = std::exp(found->second.to(at::kDouble).item<double>());
  if (!std::isfinite(scale)) throw Error(source.origin + ": expected a finite 'logit_scale'");
  return scale;
}

}  // namespace

const std::string& ClipModel::weight_hash() const {
  if (hash_.empty()) hash_ = hash_of_weights(weight_path(folder), hashes);
  return hash_;
}

std::string ClipModel::feature_key() const {
  return products == at::kFloat ? weight_hash() : fmt::format("{} {}", weight_hash(), at::toString(products));
}

ClipModel load_model(const std::string& name_or_folder, const LoadOptions& options) {
  ClipModel model;
  model.folder = resolve(name_or_folder);
  const auto description = describe_folder(model.folder);
  model.config = description.config;
  if (is_hub_name(name_or_folder)) model.config.name = parse_hub_name(name_or_folder).repository;
  model.preprocess = description.preprocess;
  model.device = options.device;
  model.products = options.products;
  model.hashes = options.hashes;
  const NamedTensors source = read_weights(model.folder, description.open_clip);
  model.logit_scale = logit_scale_of(source);
  model.tokenizer = read_tokenizer(model.folder);
  if (options.text) {
    check_tokenizer(*model.tokenizer, model.config.text, model.folder);
    model.text =
        make_text_tower(model.config.text, frozen_text_weights(model.config, source, options.device, options.products));
  }
  if (options.image && model.config.vision.kind == VisionConfig::Kind::kResNet) {
    model.image = make_resnet(model.config, source, options.device);
  } else if (options.image) {
    model.image =
        make_vit(model.config.vision, frozen_vit_weights(model.config, source, options.device, options.products));
  }
  return model;
}

}  // namespace attune

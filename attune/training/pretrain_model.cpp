#include "attune/training/pretrain_model.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr double kFirstLogScale = 1.6;
constexpr double kLargestScale = 100.0;
constexpr const char* kLogScale = "logit_scale";

}  // namespace

TokenTable tokenise(const Tokenizer& tokenizer, const std::vector<std::string>& texts, std::int64_t longest) {
  TokenTable table;
  table.reserve(texts.size());
  for (const std::string& text : texts) {
    std::vector<std::int64_t> ids = tokenizer.encode(text);
    ids.resize(std::min(ids.size(), static_cast<std::size_t>(longest - 2)));
    table.push_back(std::move(ids));
  }
  return table;
}

PretrainModel::PretrainModel(const ClipConfig& config, const std::filesystem::path& tokenizer, std::uint64_t seed)
    : config_(config), tokenizer_path_(tokenizer), tokenizer_(Tokenizer::load(tokenizer.parent_path())) {
  config_.text.vocabulary = tokenizer_.size();
  text_ = trainable_text_weights(config_, {random_text_tensors(config_, seed), "random start"});
  image_ = trainable_vit_weights(config_, {random_vit_tensors(config_, seed), "random start"});
  log_scale_ = at::full({}, kFirstLogScale).requires_grad_();
}

Tensor PretrainModel::encode_image(const Tensor& pixels) const {
  return encode_vit(config_.vision, image_, pixels).global;
}

Tensor PretrainModel::encode_text(const TokenTable& texts) const {
  const Prompts prompts = embed_sentences(text_.tokens, texts, tokenizer_.start(), tokenizer_.end());
  return attune::encode_text(config_.text, text_, prompts).squeeze(0);
}

Tensor PretrainModel::scale() const {
  return log_scale_.exp().clamp_max(kLargestScale);
}

std::vector<Parameter> PretrainModel::text_parameters() const {
  return parameters_of(parameters_of(text_));
}

std::vector<Parameter> PretrainModel::image_parameters() const {
  std::vector<Parameter> parameters = parameters_of(parameters_of(image_));
  parameters.push_back({kLogScale, log_scale_});
  return parameters;
}

TensorMap PretrainModel::state() const {
  TensorMap state;
  for (const auto& list : {text_parameters(), image_parameters()}) {
    for (const Parameter& parameter : list) state[parameter.name] = parameter.value.detach().clone();
  }
  return state;
}

void PretrainModel::load_state(const TensorMap& state) {
  at::NoGradGuard no_grad;
  for (const auto& list : {text_parameters(), image_parameters()}) {
    for (const Parameter& parameter : list) {
      const auto found = state.find(parameter.name);
      if (found == state.end() || found->second.sizes() != parameter.value.sizes()) {
        throw Error(fmt::format("checkpoint: expected tensor '{}' with the shape of the model's, found {}",
                                parameter.name, found == state.end() ? "none" : "another shape"));
      }
      Tensor(parameter.value).copy_(found->second);
    }
  }
}

void PretrainModel::save_folder(const std::filesystem::path& folder) const {
  FolderParts parts;
  parts.config = config_;
  parts.preprocess.size = static_cast<int>(config_.vision.image_size);
  parts.start = tokenizer_.start();
  parts.end = tokenizer_.end();
  parts.logit_scale = scale().item<double>();
  parts.tokenizer = tokenizer_path_;
  TensorMap tensors = state();
  tensors.erase(kLogScale);
  write_hugging_face_folder(folder, parts, tensors, at::kHalf);
}

}  // namespace attune

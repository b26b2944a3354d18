#include "attune/tasks/textual_inversion.h"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
Tensor token_rows(const TextEncoder& encoder, const std::string& word, std::int64_t vectors) {
  std::vector<std::int64_t> ids = encoder.tokenizer().encode(word);
  if (ids.empty()) throw UsageError(fmt::format("concept: expected a word, found \"{}\"", word));
  const std::size_t known = ids.size();
  ids.resize(static_cast<std::size_t>(vectors));
  for (std::size_t i = known; i < ids.size(); ++i) ids[i] = ids[i % known];
  return encoder.embed(at::tensor(ids, at::kLong)).clone();
}

TextualInversion::TextualInversion(const Tensor& start, const OptimSettings& settings,
                                   std::shared_ptr<const TextEncoder> encoder, std::vector<std::string> templates,
                                   Task* task, std::uint64_t seed)
    : token_(start.detach().clone().requires_grad_(true)),
      settings_(settings),
      encoder_(std::move(encoder)),
      templates_(std::move(templates)),
      task_(task),
      seed_(seed) {
  if (templates_.empty()) throw UsageError("templates: expected at least one, found none");
  const at::NoGradGuard no_gradients;
  // Refused now rather than at the step that draws it.
  for (const std::string& one : templates_) encoder_->encode_filled(one, token_);
}

Tensor TextualInversion::rows() const {
  const at::NoGradGuard no_gradients;
  return encoder_->encode_filled(templates_.front(), token_)[0].clone();
}

Tensor TextualInversion::hidden(std::size_t samples, std::int64_t step) const {
  KeyedRandom random(seed_, "inversion.sentence", static_cast<std::uint64_t>(step));
  std::map<std::size_t, Tensor> said;  // of a sentence that several samples drew, once
  std::vector<Tensor> rows;
  for (std::size_t i = 0; i < samples; ++i) {
    const std::size_t sentence = random.below(templates_.size());
    auto found = said.find(sentence);
    if (found == said.end()) {
      found = said.emplace(sentence, encoder_->encode_filled(templates_[sentence], token_)).first;
    }
    rows.push_back(found->second);
  }
  return at::cat(rows, 0);
}

Stages TextualInversion::stages(const TrainingData&) {
  if (task_ == nullptr) throw Error("textual inversion: expected a task to learn for, found none");
  Stages stages;
  stages.push_back(make_descent_stage(
      {"textual_inversion", settings_, {{{{"token", token_}}}}, [this](const Batch& batch, std::int64_t step) {
         task_->begin_step(step);
         return task_->loss(hidden(batch.samples.size(), step), batch.samples);
       }}));
  return stages;
}

void TextualInversion::load_state(const TensorMap& state) {
  copy_state(state, this->state(), "textual inversion");
}

}  // namespace attune

#include "attune/tasks/textual_inversion.h"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::string_view kPlace = "{}";

}  // namespace

PlaceholderSentences::PlaceholderSentences(std::shared_ptr<const TextEncoder> encoder,
                                           const std::vector<std::string>& templates, std::int64_t vectors)
    : encoder_(std::move(encoder)) {
  if (templates.empty()) throw UsageError("templates: expected at least one, found none");
  const Tokenizer& tokenizer = encoder_->tokenizer();
  const std::int64_t length = encoder_->config().context_length;
  for (const std::string& one : templates) {
    const std::size_t place = one.find(kPlace);
    if (place == std::string::npos) {
      throw UsageError(fmt::format("templates: expected {{}} in the place of the concept, found \"{}\"", one));
    }
    std::vector<std::int64_t> before = tokenizer.encode(one.substr(0, place));
    before.insert(before.begin(), tokenizer.start());
    std::vector<std::int64_t> after = tokenizer.encode(one.substr(place + kPlace.size()));
    after.push_back(tokenizer.end());
    const std::int64_t used = std::ssize(before) + vectors + std::ssize(after);
    if (used > length) {
      throw UsageError(fmt::format("templates: expected at most {} tokens, found {} in \"{}\" with {} learned", length,
                                   used, one, vectors));
    }
    after.resize(after.size() + static_cast<std::size_t>(length - used), encoder_->padding());
    sentences_.push_back(
        {encoder_->embed(at::tensor(before, at::kLong)), encoder_->embed(at::tensor(after, at::kLong))});
  }
}

Tensor PlaceholderSentences::hidden(std::int64_t sentence, const Tensor& tokens) const {
  const Sentence& one = sentences_.at(static_cast<std::size_t>(sentence));
  return encoder_->encode(at::cat({one.before, tokens, one.after}, 0).unsqueeze(0));
}

Tensor token_rows(const TextEncoder& encoder, const std::string& word, std::int64_t vectors) {
  std::vector<std::int64_t> ids = encoder.tokenizer().encode(word);
  if (ids.empty()) throw UsageError(fmt::format("concept: expected a word, found \"{}\"", word));
  const std::size_t known = ids.size();
  ids.resize(static_cast<std::size_t>(vectors));
  for (std::size_t i = known; i < ids.size(); ++i) ids[i] = ids[i % known];
  return encoder.embed(at::tensor(ids, at::kLong)).clone();
}

TextualInversion::TextualInversion(const Tensor& start, const OptimSettings& settings,
                                   std::shared_ptr<const PlaceholderSentences> sentences, Task* task,
                                   std::uint64_t seed)
    : token_(start.detach().clone().requires_grad_(true)),
      settings_(settings),
      sentences_(std::move(sentences)),
      task_(task),
      seed_(seed) {}

Tensor TextualInversion::hidden(std::size_t samples, std::int64_t step) const {
  KeyedRandom random(seed_, "inversion.sentence", static_cast<std::uint64_t>(step));
  std::map<std::int64_t, Tensor> said;  // of a sentence that several samples drew, once
  std::vector<Tensor> rows;
  for (std::size_t i = 0; i < samples; ++i) {
    const auto sentence = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(sentences_->size())));
    const auto found = said.find(sentence);
    rows.push_back(found != said.end() ? found->second
                                       : said.emplace(sentence, sentences_->hidden(sentence, token_)).first->second);
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

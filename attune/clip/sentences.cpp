#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/model.h"
#include "attune/clip/text_tower.h"

namespace attune {
namespace {

/// Sentences that are encoded at once: keeps the token embeddings small.
constexpr std::size_t kSentencesAtOnce = 1024;

const TextTower& text_of(const ClipModel& model) {
  if (!model.text || !model.tokenizer) {
    throw Error(fmt::format("{}: expected a model with its text side, found one without", model.folder.string()));
  }
  return *model.text;
}

/// Where the features of [start, ids..., end] are read, counted from the first id: at the end, or (early exports) at
/// the first largest id.
std::int64_t pooled_position(const ClipModel& model, const std::vector<std::int64_t>& ids, const std::string& text) {
  const auto length = static_cast<std::int64_t>(ids.size());
  if (model.config.text.pooling == Pooling::kFirstEnd) {
    return std::find(ids.begin(), ids.end(), model.tokenizer->end()) - ids.begin();
  }
  std::int64_t largest = model.tokenizer->start();
  std::int64_t position = -1;
  for (std::int64_t i = 0; i <= length; ++i) {
    const auto id = i < length ? ids[static_cast<std::size_t>(i)] : model.tokenizer->end();
    if (id > largest) {
      largest = id;
      position = i;
    }
  }
  if (position < 0) {
    throw Error(
        fmt::format("{}: its pooling reads the largest token id, which for '{}' is the start token: no feature "
                    "is there",
                    model.folder.string(), text));
  }
  return position;
}

}  // namespace

Prompts sentence_prompts(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate) {
  const auto& tower = text_of(model);
  if (sentences.empty()) throw Error("sentence_prompts: expected at least one sentence, found none");
  const auto room = static_cast<std::size_t>(std::max<std::int64_t>(0, tower.config().context_length - 2));
  std::vector<std::vector<std::int64_t>> ids;
  std::vector<std::int64_t> ends;
  for (const auto& sentence : sentences) {
    ids.push_back(model.tokenizer->encode(sentence));
    if (ids.back().size() > room) {
      if (!truncate) {
        throw Error(fmt::format("'{}': expected at most {} tokens between the special ones, found {}", sentence, room,
                                ids.back().size()));
      }
      ids.back().resize(room);
    }
    ends.push_back(pooled_position(model, ids.back(), sentence));
  }
  return {tower.embed(at::full({1, 1}, model.tokenizer->start(), at::kLong)),
          tower.embed(pad_ids(ids, model.tokenizer->end()).unsqueeze(0)), at::tensor(ends, at::kLong)};
}

Tensor encode_sentences(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate) {
  const at::NoGradGuard frozen;
  if (sentences.empty()) return at::empty({0, model.config.joint_width});
  std::vector<Tensor> features;
  for (std::size_t first = 0; first < sentences.size(); first += kSentencesAtOnce) {
    const auto last = std::min(first + kSentencesAtOnce, sentences.size());
    const std::vector<std::string> part(sentences.begin() + static_cast<std::ptrdiff_t>(first),
                                        sentences.begin() + static_cast<std::ptrdiff_t>(last));
    features.push_back(text_of(model).encode(sentence_prompts(model, part, truncate))[0]);
  }
  const Tensor all = at::cat(features);
  return all / all.norm(2, -1, true);
}

}  // namespace attune

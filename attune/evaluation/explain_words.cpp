#include "attune/evaluation/explain_words.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/learner.h"
#include "attune/text/vocabulary.h"

namespace attune {
namespace {

constexpr std::int64_t kRowsAtOnce = 256;
constexpr std::int64_t kScaleSample = 256;

/// Entries that stand for stray bytes or capitals are never met in a text: a text of theirs has other tokens.
bool is_whole_word(const Tokenizer& tokenizer, std::int64_t id, const std::string& text) {
  const auto plain = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || std::isalnum(byte) != 0;
  };
  return tokenizer.token(id).ends_with(kWordEnd) && !text.empty() && std::all_of(text.begin(), text.end(), plain) &&
         tokenizer.encode(text) == std::vector<std::int64_t>{id};
}

/// Entry for people: a piece keeps a dash where its word goes on.
std::string shown(const std::string& entry, const std::string& text) {
  return entry.ends_with(kWordEnd) ? text : text + "-";
}

/// The nearest `count` of `candidates` by exact L2 distance, since the fast formula is inexact for near ones.
std::vector<NearWord> by_distance(const Tensor& token, const Tensor& embeddings, const Tensor& candidates,
                                  const std::vector<std::string>& words, std::int64_t count) {
  const Tensor exact = (embeddings.index_select(0, candidates) - token).norm(2, 1).contiguous();
  const Tensor order = exact.argsort().contiguous();
  std::vector<NearWord> near;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t at = order.data_ptr<std::int64_t>()[k];
    near.push_back(
        {words[static_cast<std::size_t>(candidates.data_ptr<std::int64_t>()[at])], exact.data_ptr<float>()[at]});
  }
  return near;
}

std::string part_name(const std::string& tensor, std::int64_t part, const std::vector<std::string>& classes) {
  if (tensor == "context" && part < std::ssize(classes)) return classes[static_cast<std::size_t>(part)];
  return fmt::format("prompt {}", part + 1);
}

}  // namespace

WordSpace::WordSpace(const ClipModel& model, bool pieces) {
  const Tokenizer& tokenizer = *model.tokenizer;
  std::vector<std::int64_t> ids;
  for (std::int64_t id = 0; id < std::min(tokenizer.size(), model.config.text.vocabulary); ++id) {
    if (id == tokenizer.start() || id == tokenizer.end()) continue;
    const std::string& entry = tokenizer.token(id);
    const std::string text = tokenizer.decode({id});
    if (!pieces && !is_whole_word(tokenizer, id, text)) continue;
    ids.push_back(id);
    words_.push_back(shown(entry, text));
  }
  if (ids.empty())
    throw Error(
        fmt::format("explain: expected whole words in the vocabulary of {}, found none", model.folder.string()));
  const at::NoGradGuard no_gradients;
  embeddings_ = model.text->embed(at::tensor(ids, at::kLong)).to(at::kCPU, at::kFloat).contiguous();
  unit_ = normalise_rows(embeddings_);
}

std::vector<TokenWords> WordSpace::near(const Tensor& tokens, std::int64_t count) const {
  const at::NoGradGuard no_gradients;
  const std::int64_t kept = std::min(count, embeddings_.size(0));
  const std::int64_t candidates = std::min(kept + 16, embeddings_.size(0));
  const Tensor squares = embeddings_.square().sum(1);
  std::vector<TokenWords> all;
  for (std::int64_t first = 0; first < tokens.size(0); first += kRowsAtOnce) {
    const Tensor rows =
        tokens.narrow(0, first, std::min(kRowsAtOnce, tokens.size(0) - first)).to(at::kCPU, at::kFloat).contiguous();
    const auto [cosines, alike] = at::matmul(normalise_rows(rows), unit_.t()).topk(kept, 1);
    const Tensor nearness = 2 * at::matmul(rows, embeddings_.t()) - squares;
    const Tensor close = std::get<1>(nearness.topk(candidates, 1)).contiguous();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      TokenWords one;
      one.length = rows[i].norm().item<double>();
      for (std::int64_t k = 0; k < kept; ++k) {
        one.cosine.push_back(
            {words_[static_cast<std::size_t>(alike[i][k].item<std::int64_t>())], cosines[i][k].item<double>()});
      }
      one.l2 = by_distance(rows[i], embeddings_, close[i], words_, kept);
      all.push_back(std::move(one));
    }
  }
  return all;
}

VocabularyScale WordSpace::scale() const {
  const at::NoGradGuard no_gradients;
  const std::int64_t entries = embeddings_.size(0);
  const std::int64_t step = std::max<std::int64_t>(1, (entries + kScaleSample - 1) / kScaleSample);
  const Tensor sample = at::arange(0, entries, step, at::kLong);
  const Tensor rows = embeddings_.index_select(0, sample);
  const Tensor own = at::zeros({sample.size(0), entries}, at::kBool).scatter(1, sample.unsqueeze(1), true);
  const Tensor cosines = at::matmul(unit_.index_select(0, sample), unit_.t()).masked_fill(own, -2);
  const Tensor distances = at::cdist(rows, embeddings_).masked_fill(own, std::numeric_limits<float>::infinity());
  return {entries, embeddings_.norm(2, 1).mean().item<double>(), cosines.amax(1).mean().item<double>(),
          distances.amin(1).mean().item<double>()};
}

bool holds_text_tokens(const std::string& name, const Tensor& tensor, std::int64_t text_width) {
  if (tensor.dim() < 2 || tensor.size(-1) != text_width) return false;
  if (name == "context" || name == "contexts" || name == "training_context") return true;
  if (name.starts_with("labels.") || name.find(".labels.") != std::string::npos) return true;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  constexpr std::size_t kPrefix = 5;  // of "text."
  return name.starts_with("text.") && name.size() > kPrefix && std::all_of(name.begin() + kPrefix, name.end(), digit);
}

std::vector<TokenWords> words_of_adapter(const TensorMap& tensors, const WordSpace& space,
                                         const std::vector<std::string>& classes, std::int64_t text_width,
                                         std::int64_t count) {
  std::vector<TokenWords> all;
  for (const auto& [name, tensor] : tensors) {
    if (!holds_text_tokens(name, tensor, text_width)) continue;
    const std::int64_t length = tensor.size(-2);
    std::vector<TokenWords> found = space.near(tensor.reshape({-1, text_width}), count);
    for (std::size_t i = 0; i < found.size(); ++i) {
      found[i].tensor = name;
      found[i].token = static_cast<std::int64_t>(i) % length;
      if (tensor.dim() > 2) found[i].part = part_name(name, static_cast<std::int64_t>(i) / length, classes);
      all.push_back(std::move(found[i]));
    }
  }
  return all;
}

}  // namespace attune

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/model.h"
#include "attune/clip/text_tower.h"
#include "attune/tensors/parallel.h"

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

/// A sentence as the tower reads it: without the special tokens.
struct Sentence {
  std::vector<std::int64_t> ids;
  std::int64_t end = 0;  // where its features are read, counted from the first id
};

Sentence read_sentence(const ClipModel& model, const std::string& text, bool truncate) {
  const auto room = static_cast<std::size_t>(std::max<std::int64_t>(0, text_of(model).config().context_length - 2));
  Sentence sentence{model.tokenizer->encode(text)};
  if (sentence.ids.size() > room) {
    if (!truncate) {
      throw Error(fmt::format("'{}': expected at most {} tokens between the special ones, found {}", text, room,
                              sentence.ids.size()));
    }
    sentence.ids.resize(room);
  }
  sentence.end = pooled_position(model, sentence.ids, text);
  return sentence;
}

/// Sentences that begin with the same `shared` ids, encoded in one call whose prefix these are.
struct SharedBeginning {
  std::vector<std::size_t> members;
  std::int64_t shared = 0;
};

Prompts prompts_of(const ClipModel& model, const std::vector<Sentence>& sentences, const SharedBeginning& group) {
  std::vector<std::int64_t> prefix{model.tokenizer->start()}, ends;
  const auto& first = sentences[group.members.front()].ids;
  prefix.insert(prefix.end(), first.begin(), first.begin() + group.shared);
  std::vector<std::vector<std::int64_t>> suffixes;
  for (const std::size_t member : group.members) {
    const Sentence& sentence = sentences[member];
    suffixes.emplace_back(sentence.ids.begin() + group.shared, sentence.ids.end());
    ends.push_back(sentence.end - group.shared);
  }
  const auto& tower = text_of(model);
  return {tower.embed(at::tensor(prefix, at::kLong).unsqueeze(0)),
          tower.embed(pad_ids(suffixes, model.tokenizer->end()).unsqueeze(0)), at::tensor(ends, at::kLong)};
}

/// Divides sentences into groups with the same beginning such that the rows that the tower computes are fewest: over
/// the tree of beginnings, a branch is a group of its own where that saves more rows than groups further out.
class Beginnings {
 public:
  explicit Beginnings(const std::vector<Sentence>& sentences) : sentences_(sentences), order_(sentences.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(),
              [&](std::size_t a, std::size_t b) { return sentences[a].ids < sentences[b].ids; });
  }

  std::vector<SharedBeginning> groups() const {
    std::vector<Branch> chosen;
    best(0, order_.size(), chosen);
    std::vector<SharedBeginning> groups;
    std::vector<bool> grouped(order_.size());
    for (const Branch& branch : chosen) {
      for (std::size_t i = branch.first; i < branch.past; ++i) grouped[i] = true;
      add(groups,
          {order_.begin() + static_cast<std::ptrdiff_t>(branch.first),
           order_.begin() + static_cast<std::ptrdiff_t>(branch.past)},
          branch.shared);
    }
    std::vector<std::size_t> rest;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      if (!grouped[i]) rest.push_back(order_[i]);
    }
    add(groups, rest, 0);
    return groups;
  }

 private:
  static constexpr std::int64_t kRowsOfACall = 24;  // what a call more costs

  struct Branch {
    std::size_t first, past;  // in order_
    std::int64_t shared;
  };

  const std::vector<std::int64_t>& ids(std::size_t place) const { return sentences_[order_[place]].ids; }

  /// How many ids the sentences first .. past - 1 begin with together, none behind where one of them is read.
  std::int64_t shared(std::size_t first, std::size_t past) const {
    const auto& a = ids(first);
    const auto& b = ids(past - 1);
    const auto mismatch = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
    std::int64_t length = mismatch - a.begin();
    for (std::size_t i = first; i < past; ++i) length = std::min(length, sentences_[order_[i]].end);
    return length;
  }

  /// Rows saved by the best groups of a branch, which are appended to `chosen`.
  std::int64_t best(std::size_t first, std::size_t past, std::vector<Branch>& chosen) const {
    if (past - first < 2) return 0;
    const std::int64_t length = shared(first, past);
    const std::int64_t own = static_cast<std::int64_t>(past - first - 1) * length - kRowsOfACall;
    std::vector<Branch> further;
    std::int64_t sum = 0;
    const auto at = static_cast<std::size_t>(length);
    for (std::size_t begin = first; begin < past;) {
      std::size_t end = begin + 1;
      while (end < past && ids(begin).size() > at && ids(end).size() > at && ids(end)[at] == ids(begin)[at]) ++end;
      if (end - begin < past - first) sum += best(begin, end, further);
      begin = end;
    }
    if (own >= sum && own > 0) {
      chosen.push_back({first, past, length});
      return own;
    }
    chosen.insert(chosen.end(), further.begin(), further.end());
    return sum;
  }

  static void add(std::vector<SharedBeginning>& groups, const std::vector<std::size_t>& members, std::int64_t shared) {
    for (std::size_t first = 0; first < members.size(); first += kSentencesAtOnce) {
      const auto past = std::min(first + kSentencesAtOnce, members.size());
      groups.push_back(
          {{members.begin() + static_cast<std::ptrdiff_t>(first), members.begin() + static_cast<std::ptrdiff_t>(past)},
           shared});
    }
  }

  const std::vector<Sentence>& sentences_;
  std::vector<std::size_t> order_;
};

}  // namespace

Prompts sentence_prompts(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate) {
  text_of(model);
  if (sentences.empty()) throw Error("sentence_prompts: expected at least one sentence, found none");
  std::vector<Sentence> read;
  read.reserve(sentences.size());
  SharedBeginning all;
  for (const auto& sentence : sentences) {
    all.members.push_back(read.size());
    read.push_back(read_sentence(model, sentence, truncate));
  }
  return prompts_of(model, read, all);
}

Tensor sentence_features(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate) {
  const at::NoGradGuard frozen;
  if (sentences.empty()) return at::empty({0, model.config.joint_width});
  const TextTower& tower = text_of(model);
  std::vector<Sentence> read;
  for (const auto& sentence : sentences) read.push_back(read_sentence(model, sentence, truncate));
  const std::vector<SharedBeginning> groups = Beginnings(read).groups();
  std::vector<Tensor> features(groups.size());
  const auto encode = [&](std::int64_t group) {
    const auto i = static_cast<std::size_t>(group);
    features[i] = tower.encode(prompts_of(model, read, groups[i]))[0];
  };
  // Many groups go to the threads whole; a few are divided inside the tower.
  if (std::ssize(groups) >= 4 * parallel_width() && model.device.is_cpu()) {
    in_parallel(std::ssize(groups), encode);
  } else {
    for (std::int64_t i = 0; i < std::ssize(groups); ++i) encode(i);
  }
  std::vector<std::int64_t> place(sentences.size());
  std::int64_t next = 0;
  for (const SharedBeginning& group : groups) {
    for (const std::size_t member : group.members) place[member] = next++;
  }
  return at::cat(features).index_select(0, at::tensor(place, at::kLong).to(model.device));
}

Tensor encode_sentences(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate) {
  const Tensor features = sentence_features(model, sentences, truncate);
  return features / features.norm(2, -1, true);
}

}  // namespace attune

#include "attune/text/train_bpe.h"

#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/text/unicode.h"
#include "attune/text/words.h"

namespace attune {
namespace {

constexpr std::int64_t kSmallest = 514;  // the bytes, inside and at the end of words, and the special tokens

struct CountedWord {
  std::vector<std::int32_t> symbols;
  std::int64_t count;
};

using Pair = std::uint64_t;  // left id in the upper half, right id in the lower

Pair pair_of(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

class Trainer {
 public:
  Trainer(const std::vector<std::string>& texts, std::int64_t entries) : entries_(static_cast<std::size_t>(entries)) {
    for (const std::uint8_t byte : byte_alphabet().order) tokens_.push_back(byte_alphabet().symbol[byte]);
    for (int i = 0; i < 256; ++i) tokens_.push_back(tokens_[i] + std::string(kWordEnd));
    for (std::size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<std::int32_t>(i));
    count_words(texts);
    for (std::uint32_t i = 0; i < words_.size(); ++i) add_pairs(i, 1);
    for (const auto& [pair, known] : pairs_) queue_.push({known.count, pair});
  }

  TokenPairs run() {
    TokenPairs merges;
    while (tokens_.size() < entries_ && !queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      // Counts change without the queue knowing: every change has put in a new candidate.
      if (best.count <= 0 || pairs_[best.pair].count != best.count) continue;
      const auto left = static_cast<std::int32_t>(best.pair >> 32);
      const auto right = static_cast<std::int32_t>(best.pair & 0xFFFFFFFF);
      merges.emplace_back(tokens_[left], tokens_[right]);
      merge(best.pair, left, right, entry(tokens_[left] + tokens_[right]));
    }
    return merges;
  }

 private:
  struct Occurrences {
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;  // where it stands, or once stood
  };
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void count_words(const std::vector<std::string>& texts) {
    std::map<std::string, std::int64_t, std::less<>> counts;
    for (const std::string& text : texts) {
      const std::string normal = normalise(replace_ill_formed(text));
      for (const std::string_view word : split_words(normal)) {
        const auto found = counts.find(word);
        if (found == counts.end()) {
          counts.emplace(word, 1);
        } else {
          ++found->second;
        }
      }
    }
    std::array<std::int32_t, 256> place{};
    for (int i = 0; i < 256; ++i) place[byte_alphabet().order[i]] = i;
    for (const auto& [word, count] : counts) {
      CountedWord counted{{}, count};
      for (const char c : word) counted.symbols.push_back(place[static_cast<unsigned char>(c)]);
      counted.symbols.back() += 256;
      words_.push_back(std::move(counted));
    }
  }

  std::int32_t entry(const std::string& token) {
    const auto [found, fresh] = ids_.emplace(token, static_cast<std::int32_t>(tokens_.size()));
    if (fresh) tokens_.push_back(token);
    return found->second;
  }

  /// Counts the pairs of a word in (sign 1) or out (-1).
  void add_pairs(std::uint32_t index, int sign) {
    const CountedWord& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const Pair pair = pair_of(word.symbols[i], word.symbols[i + 1]);
      Occurrences& known = pairs_[pair];
      known.count += sign * word.count;
      if (sign > 0 && (known.words.empty() || known.words.back() != index)) known.words.push_back(index);
      touched_.insert(pair);
    }
  }

  void merge(Pair pair, std::int32_t left, std::int32_t right, std::int32_t result) {
    touched_.clear();
    const std::vector<std::uint32_t> places = std::move(pairs_[pair].words);
    pairs_[pair].words.clear();
    for (const std::uint32_t index : places) {
      std::vector<std::int32_t>& symbols = words_[index].symbols;
      std::vector<std::int32_t> merged;
      for (std::size_t i = 0; i < symbols.size(); ++i) {
        const bool here = i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right;
        merged.push_back(here ? result : symbols[i]);
        i += here;
      }
      if (merged.size() == symbols.size()) continue;
      add_pairs(index, -1);
      symbols = std::move(merged);
      add_pairs(index, 1);
    }
    for (const Pair changed : touched_) queue_.push({pairs_[changed].count, changed});
  }

  std::size_t entries_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<CountedWord> words_;
  std::unordered_map<Pair, Occurrences> pairs_;
  std::unordered_set<Pair> touched_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

Tokenizer train_tokenizer(const std::vector<std::string>& texts, std::int64_t vocabulary) {
  if (vocabulary < kSmallest) {
    throw UsageError(
        fmt::format("train_tokenizer: expected a vocabulary of at least {}, found {}", kSmallest, vocabulary));
  }
  return Tokenizer(make_clip_vocabulary(Trainer(texts, vocabulary - 2).run(), "train_tokenizer"));
}

}  // namespace attune

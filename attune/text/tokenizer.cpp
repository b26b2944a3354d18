#include "attune/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <unordered_map>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/text/unicode.h"
#include "attune/text/words.h"

namespace attune {
namespace {

/// Pairs of entries to their merge, by open addressing: a lookup touches one cache line.
class MergeTable {
 public:
  struct Found {
    std::int32_t rank, result;
  };

  explicit MergeTable(const std::vector<Merge>& merges)
      : slots_(std::bit_ceil(2 * merges.size() + 2)), shift_(64 - std::countr_zero(slots_.size())) {
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const std::uint64_t key = key_of(merges[rank].left, merges[rank].right);
      // A pair that is listed twice has the later rank, as in the tokenizers library.
      slots_[place(key)] = {key, {static_cast<std::int32_t>(rank), merges[rank].result}};
    }
  }

  const Found* find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = key_of(left, right);
    const Slot& slot = slots_[place(key)];
    return slot.key == key ? &slot.found : nullptr;
  }

 private:
  static constexpr std::uint64_t kEmpty = std::numeric_limits<std::uint64_t>::max();
  struct Slot {
    std::uint64_t key = kEmpty;
    Found found{};
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t place(std::uint64_t key) const {
    std::size_t at = (key * 0x9E3779B97F4A7C15u) >> shift_;
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  std::vector<Slot> slots_;
  int shift_;
};

/// Added tokens in a text: the leftmost, among those the longest.
class TokenFinder {
 public:
  explicit TokenFinder(std::vector<std::pair<std::string, std::int32_t>> tokens) : tokens_(std::move(tokens)) {
    std::stable_sort(tokens_.begin(), tokens_.end(),
                     [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
    for (const auto& [text, id] : tokens_) starts_[static_cast<unsigned char>(text[0])] = true;
  }

  /// Calls `piece` for what stands between the tokens and `token` for the ids of the tokens, from left to right.
  template <class Piece, class Token>
  void split(std::string_view text, Piece piece, Token token) const {
    std::size_t first = 0;
    for (std::size_t at = 0; at < text.size();) {
      const auto* found = find(text.substr(at));
      if (found == nullptr) {
        ++at;
        continue;
      }
      if (at > first) piece(text.substr(first, at - first));
      token(found->second);
      first = at += found->first.size();
    }
    if (first < text.size()) piece(text.substr(first));
  }

 private:
  const std::pair<std::string, std::int32_t>* find(std::string_view rest) const {
    if (!starts_[static_cast<unsigned char>(rest[0])]) return nullptr;
    for (const auto& token : tokens_) {
      if (rest.starts_with(token.first)) return &token;
    }
    return nullptr;
  }

  std::vector<std::pair<std::string, std::int32_t>> tokens_;
  std::array<bool, 256> starts_{};
};

TokenFinder finder_of(const std::vector<AddedToken>& added, bool normalised) {
  std::vector<std::pair<std::string, std::int32_t>> tokens;
  for (const AddedToken& token : added) {
    if (token.normalised != normalised) continue;
    std::string text = normalised ? normalise(token.text) : token.text;
    if (!text.empty()) tokens.emplace_back(std::move(text), token.id);
  }
  return TokenFinder(std::move(tokens));
}

/// Symbols of one word while they merge: a linked list in a vector, and the merges that are possible in a heap.
class Word {
 public:
  void clear() { symbols_.clear(), heap_.clear(); }
  void add(std::int32_t id) {
    const auto place = static_cast<std::int32_t>(symbols_.size());
    symbols_.push_back({id, place - 1, place + 1});
  }

  void merge(const MergeTable& table) {
    symbols_.back().next = -1;
    for (std::int32_t i = 0; symbols_[i].next >= 0; ++i) consider(i, table);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), later);
      const Candidate best = heap_.back();
      heap_.pop_back();
      Symbol& left = symbols_[best.place];
      if (left.id != best.left || left.next < 0 || symbols_[left.next].id != best.right) continue;
      Symbol& right = symbols_[left.next];
      left.id = best.result;
      right.id = kGone;
      left.next = right.next;
      if (left.next >= 0) {
        symbols_[left.next].previous = best.place;
        consider(best.place, table);
      }
      if (left.previous >= 0) consider(left.previous, table);
    }
  }

  void append_to(std::vector<std::int64_t>& ids) const {
    for (std::int32_t i = 0; i >= 0; i = symbols_[i].next) ids.push_back(symbols_[i].id);
  }
  bool empty() const { return symbols_.empty(); }

 private:
  static constexpr std::int32_t kGone = -1;
  struct Symbol {
    std::int32_t id, previous, next;
  };
  struct Candidate {
    std::int32_t rank, place, left, right, result;
  };
  static bool later(const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.place > b.place;
  }

  void consider(std::int32_t place, const MergeTable& table) {
    const Symbol& left = symbols_[place];
    const std::int32_t right = symbols_[left.next].id;
    if (const auto* found = table.find(left.id, right)) {
      heap_.push_back({found->rank, place, left.id, right, found->result});
      std::push_heap(heap_.begin(), heap_.end(), later);
    }
  }

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

std::string_view trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F); };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

/// The bytes that an entry stands for, or its own where it has characters outside the byte alphabet.
void append_bytes(const std::string& token, std::string& text) {
  const std::size_t before = text.size();
  for (std::size_t at = 0; at < token.size();) {
    const std::int32_t c = next_code_point(token, at);
    const auto& byte_of = byte_alphabet().byte_of;
    if (c >= static_cast<std::int32_t>(byte_of.size()) || byte_of[c] < 0) {
      text.resize(before);
      text += token;
      return;
    }
    text += static_cast<char>(byte_of[c]);
  }
}

}  // namespace

struct Tokenizer::Tables {
  explicit Tables(Vocabulary from)
      : vocabulary(std::move(from)),
        merges(vocabulary.merges),
        raw(finder_of(vocabulary.added, false)),
        normalised(finder_of(vocabulary.added, true)) {
    for (const AddedToken& token : vocabulary.added) {
      if (token.text == kStartToken) start = token.id;
      if (token.text == kEndToken) end = token.id;
      if (token.normalised) normal_spelling.emplace(token.id, normalise(token.text));
    }
    if (start < 0 || end < 0) throw Error("Tokenizer: expected a vocabulary with <|startoftext|> and <|endoftext|>");
    byte_ids.fill(vocabulary.unknown);
    last_byte_ids.fill(vocabulary.unknown);
    std::unordered_map<std::string_view, int> bytes;
    for (int b = 0; b < 256; ++b) bytes.emplace(byte_alphabet().symbol[b], b);
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
      std::string_view token = vocabulary.tokens[id];
      const bool last = token.ends_with(kWordEnd);
      if (last) token.remove_suffix(kWordEnd.size());
      if (token.size() > 2) continue;
      const auto found = bytes.find(token);
      if (found != bytes.end()) (last ? last_byte_ids : byte_ids)[found->second] = static_cast<std::int32_t>(id);
    }
  }

  void encode_word(std::string_view bytes, Word& word, std::vector<std::int64_t>& ids) const {
    word.clear();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      const std::int32_t id = i + 1 == bytes.size() ? last_byte_ids[byte] : byte_ids[byte];
      if (id >= 0) word.add(id);
    }
    if (word.empty()) return;
    word.merge(merges);
    word.append_to(ids);
  }

  Vocabulary vocabulary;
  MergeTable merges;
  TokenFinder raw;
  TokenFinder normalised;
  std::array<std::int32_t, 256> byte_ids;                         // of a byte inside a word
  std::array<std::int32_t, 256> last_byte_ids;                    // of a byte that ends a word
  std::unordered_map<std::int64_t, std::string> normal_spelling;  // of added tokens, as the fast tokenizer decodes them
  std::int32_t start = -1;
  std::int32_t end = -1;
};

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  return Tokenizer(read_vocabulary(path));
}

Tokenizer::Tokenizer(Vocabulary vocabulary) : tables_(std::make_unique<Tables>(std::move(vocabulary))) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<std::int64_t> Tokenizer::encode(std::string_view text) const {
  const Tables& tables = *tables_;
  std::vector<std::int64_t> ids;
  Word word;
  const auto token = [&](std::int32_t id) { ids.push_back(id); };
  const auto piece = [&](std::string_view part) {
    for (const std::string_view bytes : split_words(part)) tables.encode_word(bytes, word, ids);
  };
  const auto segment = [&](std::string_view part) { tables.normalised.split(normalise(part), piece, token); };
  tables.raw.split(replace_ill_formed(text), segment, token);
  return ids;
}

std::string Tokenizer::decode(const std::vector<std::int64_t>& ids) const {
  std::string bytes;
  for (const std::int64_t id : ids) {
    const auto respelled = tables_->normal_spelling.find(id);
    append_bytes(respelled == tables_->normal_spelling.end() ? token(id) : respelled->second, bytes);
  }
  const std::string text = replace_ill_formed(bytes);
  std::string spaced;
  for (std::size_t at = 0; at < text.size();) {
    const bool ends = text.compare(at, kWordEnd.size(), kWordEnd) == 0;
    spaced += ends ? ' ' : text[at];
    at += ends ? kWordEnd.size() : 1;
  }
  return std::string(trim(spaced));
}

const std::string& Tokenizer::token(std::int64_t id) const {
  if (id < 0 || id >= size())
    throw Error(fmt::format("Tokenizer: expected an id from 0 to {}, found {}", size() - 1, id));
  return tables_->vocabulary.tokens[static_cast<std::size_t>(id)];
}

std::int64_t Tokenizer::start() const {
  return tables_->start;
}
std::int64_t Tokenizer::end() const {
  return tables_->end;
}
std::int64_t Tokenizer::size() const {
  return static_cast<std::int64_t>(tables_->vocabulary.tokens.size());
}

void Tokenizer::save(const std::filesystem::path& folder, std::int64_t context_length) const {
  write_vocabulary(tables_->vocabulary, folder, context_length);
}

}  // namespace attune

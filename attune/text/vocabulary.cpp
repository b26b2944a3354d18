#include "attune/text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <unordered_set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/text/unicode.h"
#include "attune/text/words.h"

namespace attune {
namespace {

ByteAlphabet make_byte_alphabet() {
  ByteAlphabet alphabet;
  alphabet.byte_of.fill(-1);
  const auto prints = [](int b) { return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; };
  int place = 0;
  int spare = 256;
  for (const bool printing : {true, false}) {
    for (int b = 0; b < 256; ++b) {
      if (prints(b) != printing) continue;
      const int code_point = printing ? b : spare++;
      append_utf8(code_point, alphabet.symbol[b]);
      alphabet.byte_of[code_point] = static_cast<std::int16_t>(b);
      alphabet.order[place++] = static_cast<std::uint8_t>(b);
    }
  }
  return alphabet;
}

std::string shown(std::string_view token) {
  return fmt::format("\"{}\"", token.substr(0, 60));
}

void place_entries(std::vector<std::pair<std::string, std::int64_t>>& entries, Vocabulary& vocabulary,
                   const std::string& where) {
  const auto count = static_cast<std::int64_t>(entries.size());
  vocabulary.tokens.resize(entries.size());
  std::vector<bool> taken(entries.size());
  for (auto& [token, id] : entries) {
    if (id < 0 || id >= count || taken[id]) {
      throw Error(
          fmt::format("{}: expected ids 0 to {}, each once, found {} for {}", where, count - 1, id, shown(token)));
    }
    taken[id] = true;
    vocabulary.tokens[id] = std::move(token);
  }
}

/// Ids by entry, by open addressing: a tokenizer of CLIP's size asks 150,000 times while it loads.
class TokenIndex {
 public:
  TokenIndex(const std::vector<std::string>& tokens, const std::string& where)
      : tokens_(tokens), where_(where), slots_(std::bit_ceil(2 * tokens.size() + 2)) {
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      Slot& slot = slots_[place(tokens[id], hash(tokens[id]))];
      if (slot.id >= 0)
        throw Error(fmt::format("{}: expected each entry once, found {} twice", where, shown(tokens[id])));
      slot = {hash(tokens[id]), static_cast<std::int32_t>(id)};
    }
  }

  /// Throws Error that says `what` the missing entry is.
  std::int32_t at(std::string_view token, std::string_view what) const {
    const Slot& slot = slots_[place(token, hash(token))];
    if (slot.id < 0) throw Error(fmt::format("{}: expected {} {} in the vocabulary", where_, what, shown(token)));
    return slot.id;
  }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::int32_t id = -1;
  };

  static std::uint32_t hash(std::string_view token) {
    return static_cast<std::uint32_t>(std::hash<std::string_view>{}(token));
  }
  std::size_t place(std::string_view token, std::uint32_t hash) const {
    std::size_t at = hash & (slots_.size() - 1);
    while (slots_[at].id >= 0 && (slots_[at].hash != hash || tokens_[slots_[at].id] != token)) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return at;
  }

  const std::vector<std::string>& tokens_;
  const std::string& where_;
  std::vector<Slot> slots_;
};

}  // namespace

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet kAlphabet = make_byte_alphabet();
  return kAlphabet;
}

Vocabulary make_vocabulary(std::vector<std::pair<std::string, std::int64_t>> entries, const TokenPairs& merges,
                           std::vector<AddedToken> added, const std::string& unknown, const std::string& where) {
  Vocabulary vocabulary;
  place_entries(entries, vocabulary, where);
  const TokenIndex index(vocabulary.tokens, where);
  vocabulary.merges.reserve(merges.size());
  std::string joined;
  for (const auto& [left, right] : merges) {
    joined.assign(left).append(right);
    vocabulary.merges.push_back(
        {index.at(left, "the merged"), index.at(right, "the merged"), index.at(joined, "the merge")});
  }
  for (const std::string_view special : {kStartToken, kEndToken}) {
    const std::int32_t id = index.at(special, "the special token");
    const bool known = std::any_of(added.begin(), added.end(), [&](const AddedToken& t) { return t.text == special; });
    if (!known) added.push_back({std::string(special), id, false});
  }
  vocabulary.added = std::move(added);
  if (!unknown.empty()) vocabulary.unknown = index.at(unknown, "the unknown token");
  return vocabulary;
}

Vocabulary make_clip_vocabulary(const TokenPairs& merges, const std::string& where) {
  std::vector<std::pair<std::string, std::int64_t>> entries;
  entries.reserve(514 + merges.size());
  std::unordered_set<std::string> seen;  // two pairs may join to the same entry
  const auto add = [&](std::string token) {
    if (seen.insert(token).second) entries.emplace_back(std::move(token), entries.size());
  };
  const ByteAlphabet& alphabet = byte_alphabet();
  for (const std::uint8_t byte : alphabet.order) add(alphabet.symbol[byte]);
  for (const std::uint8_t byte : alphabet.order) add(alphabet.symbol[byte] + std::string(kWordEnd));
  for (const auto& [left, right] : merges) add(left + right);
  add(std::string(kStartToken));
  add(std::string(kEndToken));
  return make_vocabulary(std::move(entries), merges, {}, std::string(kEndToken), where);
}

}  // namespace attune

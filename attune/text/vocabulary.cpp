#include "attune/text/vocabulary.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/text/unicode.h"
#include "attune/text/words.h"

namespace attune {
namespace {

using Index = std::unordered_map<std::string_view, std::int32_t>;

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

Index index_tokens(const std::vector<std::string>& tokens, const std::string& where) {
  Index index;
  index.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (!index.emplace(tokens[id], static_cast<std::int32_t>(id)).second) {
      throw Error(fmt::format("{}: expected each entry once, found {} twice", where, shown(tokens[id])));
    }
  }
  return index;
}

std::int32_t find(const Index& index, std::string_view token, std::string_view what, const std::string& where) {
  const auto found = index.find(token);
  if (found == index.end()) throw Error(fmt::format("{}: expected {} {} in the vocabulary", where, what, shown(token)));
  return found->second;
}

}  // namespace

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet = make_byte_alphabet();
  return alphabet;
}

Vocabulary make_vocabulary(std::vector<std::pair<std::string, std::int64_t>> entries, const TokenPairs& merges,
                           std::vector<AddedToken> added, const std::string& unknown, const std::string& where) {
  Vocabulary vocabulary;
  place_entries(entries, vocabulary, where);
  const Index index = index_tokens(vocabulary.tokens, where);
  vocabulary.merges.reserve(merges.size());
  std::string joined;
  for (const auto& [left, right] : merges) {
    joined.assign(left).append(right);
    vocabulary.merges.push_back({find(index, left, "the merged", where), find(index, right, "the merged", where),
                                 find(index, joined, "the merge", where)});
  }
  for (const std::string_view special : {kStartToken, kEndToken}) {
    const std::int32_t id = find(index, special, "the special token", where);
    const bool known = std::any_of(added.begin(), added.end(), [&](const AddedToken& t) { return t.text == special; });
    if (!known) added.push_back({std::string(special), id, false});
  }
  vocabulary.added = std::move(added);
  if (!unknown.empty()) vocabulary.unknown = find(index, unknown, "the unknown token", where);
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

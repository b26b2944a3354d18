#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attune {

/// The bytes as printable characters (the byte-level alphabet of GPT-2): bytes that print in Latin-1 stand for
/// themselves, the others for U+0100 and on.
struct ByteAlphabet {
  std::array<std::string, 256> symbol;    // by byte, UTF-8
  std::array<std::uint8_t, 256> order;    // bytes in the order of CLIP's first 256 ids
  std::array<std::int16_t, 324> byte_of;  // by code point below 324, -1 where it stands for none
};
const ByteAlphabet& byte_alphabet();

inline constexpr std::string_view kWordEnd = "</w>";

/// Two entries that become a third. The place in the list is the rank: lower ranks merge first.
struct Merge {
  std::int32_t left, right, result;
};

/// A token that is found in the text before it is split into words.
struct AddedToken {
  std::string text;
  std::int32_t id = 0;
  bool normalised = false;  // looked for in the normalised text, not in the raw one
};

/// What a tokenizer file says.
struct Vocabulary {
  std::vector<std::string> tokens;  // by id, in the byte alphabet, with kWordEnd where a word ends
  std::vector<Merge> merges;
  std::vector<AddedToken> added;  // contains kStartToken and kEndToken
  std::int32_t unknown = -1;      // for bytes without an entry; -1 drops them
};

using TokenPairs = std::vector<std::pair<std::string, std::string>>;

/// The vocabulary of entries with their ids, and merges by name. Throws Error that names `where` unless the ids are
/// 0 .. n - 1, each once, every merge refers to entries, and both special tokens are there. Special tokens that
/// `added` lacks are added.
Vocabulary make_vocabulary(std::vector<std::pair<std::string, std::int64_t>> entries, const TokenPairs& merges,
                           std::vector<AddedToken> added, const std::string& unknown, const std::string& where);

/// CLIP's layout: 256 bytes, the same ending a word, the merges in order, the two special tokens. A merge
/// whose result is there already adds no entry.
Vocabulary make_clip_vocabulary(const TokenPairs& merges, const std::string& where);

/// Reads what Tokenizer::load takes: a folder, a tokenizer.json, or OpenAI's gzipped list of merges. Throws Error.
Vocabulary read_vocabulary(const std::filesystem::path& path);

/// tokenizer.json in the form that transformers' fast CLIP tokenizer reads.
void write_tokenizer_json(const Vocabulary& vocabulary, const std::filesystem::path& path);

/// tokenizer.json, vocab.json, merges.txt and tokenizer_config.json in a folder.
void write_vocabulary(const Vocabulary& vocabulary, const std::filesystem::path& folder, std::int64_t context_length);

}  // namespace attune

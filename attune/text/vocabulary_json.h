#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "attune/base/json.h"
#include "attune/text/vocabulary.h"

namespace attune {

inline constexpr const char* kWordPattern =
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
inline constexpr const char* kOldWordPattern = R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";

/// The "normalizer" and "pre_tokenizer" of CLIP's tokenizer.json.
Json clip_rules();

/// The parts of a tokenizer file. The long ones are read straight into lists: as a Json they would take a second.
struct VocabularyJson {
  std::vector<std::pair<std::string, std::int64_t>> entries;
  TokenPairs merges;                     // of the newer form, ["left", "right"]
  std::vector<std::string> merge_lines;  // of the older form, "left right"
  Json rest;                             // everything but model.vocab and model.merges
};

/// Throws Error that names `where` for anything that is not JSON of this form.
VocabularyJson parse_tokenizer_json(std::string_view text, const std::string& where);
/// An object of ids by entry.
VocabularyJson parse_vocab_json(std::string_view text, const std::string& where);

}  // namespace attune

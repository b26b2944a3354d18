#pragma once

#include <string_view>
#include <vector>

namespace attune {

inline constexpr std::string_view kStartToken = "<|startoftext|>";
inline constexpr std::string_view kEndToken = "<|endoftext|>";

/// The words of a normalised text, as byte-pair encoding sees them (views into `text`): the English contractions
/// 's 't 're 've 'm 'll 'd, runs of letters, single digits, and runs of what is neither letter, number nor space. A
/// special token that is still in the text (one written in capitals) ends a run and counts as three words, because
/// the fast tokenizer splits a second time by GPT-2's rule.
std::vector<std::string_view> split_words(std::string_view text);

}  // namespace attune

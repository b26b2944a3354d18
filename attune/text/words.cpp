#include "attune/text/words.h"

#include "attune/text/unicode.h"

namespace attune {
namespace {

/// Length of the contraction at the start of `text`, 0 where there is none.
std::size_t contraction(std::string_view text) {
  for (const std::string_view form : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(form)) return form.size();
  }
  return 0;
}

std::size_t special(std::string_view text) {
  for (const std::string_view token : {kStartToken, kEndToken}) {
    if (text.starts_with(token)) return token.size();
  }
  return 0;
}

}  // namespace

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (const std::size_t length = rest[0] == '<' ? special(rest) : 0; length > 0) {
      words.insert(words.end(), {rest.substr(0, 2), rest.substr(2, length - 4), rest.substr(length - 2, 2)});
      at += length;
      continue;
    }
    if (const std::size_t length = rest[0] == '\'' ? contraction(rest) : 0; length > 0) {
      words.push_back(rest.substr(0, length));
      at += length;
      continue;
    }
    const std::size_t first = at;
    const CharacterKind kind = kind_of(next_code_point(text, at));
    if (kind == CharacterKind::kSpace) continue;
    if (kind != CharacterKind::kNumber) {
      for (std::size_t next = at; next < text.size(); at = next) {
        if (kind_of(next_code_point(text, next)) != kind) break;
      }
    }
    words.push_back(text.substr(first, at - first));
  }
  return words;
}

}  // namespace attune

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace attune {

/// What the tokenizer's split rule tells apart: \p{L}, \p{N}, white space (the White_Space property), anything else.
enum class CharacterKind { kLetter, kNumber, kSpace, kOther };

/// By the Unicode version of libutf8proc; characters that it does not know yet are kOther.
CharacterKind kind_of(std::int32_t code_point);

/// The code point at `position` of well-formed UTF-8; moves `position` past it.
std::int32_t next_code_point(std::string_view text, std::size_t& position);
void append_utf8(std::int32_t code_point, std::string& text);

/// The text with U+FFFD for each ill-formed sequence, one per maximal part (Unicode 15, section 3.9), as Python's
/// errors="replace" and Rust's from_utf8_lossy do.
std::string replace_ill_formed(std::string_view text);

/// The fast tokenizer's normaliser: NFC, then runs of white space as one space, then the lower case of each character
/// by itself (U+0130 becomes two, sigma has no final form). Takes well-formed UTF-8; linear in its length.
std::string normalise(std::string_view text);

}  // namespace attune

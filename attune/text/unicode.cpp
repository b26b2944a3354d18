#include "attune/text/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <utf8proc.h>
#include <vector>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::int32_t kReplacement = 0xFFFD;

bool ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// Bytes of the well-formed sequence at `at`, or minus the length of the ill-formed part that starts there.
int sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return -1;
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and code points above U+10FFFF.
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (int i = 1; i < length; ++i) {
    if (at + i >= text.size() || byte(at + i) < low || byte(at + i) > high) return -i;
    low = 0x80, high = 0xBF;
  }
  return length;
}

bool white_space(std::int32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// NFC. The marks between two starters are sorted here because utf8proc's own ordering is quadratic in their number.
std::vector<std::int32_t> compose(std::string_view text) {
  std::vector<std::int32_t> points;
  points.reserve(text.size() + 8);
  constexpr auto kDecompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  for (std::size_t at = 0; at < text.size();) {
    std::int32_t parts[8];
    const auto count = utf8proc_decompose_char(next_code_point(text, at), parts, 8, kDecompose, nullptr);
    if (count < 0 || count > 8) throw Error("normalise: expected well-formed UTF-8");
    points.insert(points.end(), parts, parts + count);
  }
  const auto mark_class = [](std::int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto first = points.begin(); first != points.end(); ++first) {
    if (mark_class(*first) == 0) continue;
    const auto last = std::find_if(first, points.end(), [&](std::int32_t c) { return mark_class(c) == 0; });
    std::stable_sort(first, last, [&](std::int32_t a, std::int32_t b) { return mark_class(a) < mark_class(b); });
    if (last == points.end()) break;
    first = last;
  }
  const auto size = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()), kCompose);
  if (size < 0) throw Error("normalise: expected well-formed UTF-8");
  points.resize(static_cast<std::size_t>(size));
  return points;
}

void append_lower(std::int32_t c, std::string& text) {
  if (c == 0x130) {  // the one character whose lower case is two, whatever stands around it
    text += "i\u0307";
  } else {
    append_utf8(utf8proc_tolower(c), text);
  }
}

}  // namespace

CharacterKind kind_of(std::int32_t code_point) {
  if ((code_point >= 'a' && code_point <= 'z') || (code_point >= 'A' && code_point <= 'Z'))
    return CharacterKind::kLetter;
  if (white_space(code_point)) return CharacterKind::kSpace;
  switch (utf8proc_category(code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharacterKind::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharacterKind::kNumber;
    default:
      return CharacterKind::kOther;
  }
}

std::int32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t i) { return static_cast<std::int32_t>(static_cast<unsigned char>(text[i])); };
  const std::int32_t lead = byte(position);
  if (lead < 0x80) return ++position, lead;
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  std::int32_t value = lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) value = value << 6 | (byte(position + i) & 0x3F);
  position += length;
  return value;
}

void append_utf8(std::int32_t code_point, std::string& text) {
  utf8proc_uint8_t bytes[4];
  const auto count = utf8proc_encode_char(code_point, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count));
}

std::string replace_ill_formed(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const int length = sequence_length(text, at);
    if (length > 0) {
      result.append(text, at, length);
    } else {
      append_utf8(kReplacement, result);
    }
    at += std::abs(length);
  }
  return result;
}

std::string normalise(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  bool in_space = false;
  const auto put = [&](std::int32_t c) {
    const bool space = white_space(c);
    if (!space) {
      append_lower(c, result);
    } else if (!in_space) {
      result += ' ';
    }
    in_space = space;
  };
  if (ascii(text)) {
    for (const char c : text) {
      if (white_space(c)) {
        put(c);
      } else {
        result += static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        in_space = false;
      }
    }
  } else {
    for (const std::int32_t c : compose(text)) put(c);
  }
  return result;
}

}  // namespace attune

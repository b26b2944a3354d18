#include "attune/base/json.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"

namespace attune {
namespace {

constexpr int kDeepest = 64;

/// Depth of nesting, found without recursion.
void check_depth(std::string_view text, std::string_view name) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) throw Error(fmt::format("{}: expected JSON nested at most {} deep", name, kDeepest));
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

template <class T>
constexpr std::string_view kTypeName = "a value";
template <>
constexpr std::string_view kTypeName<std::string> = "a string";
template <>
constexpr std::string_view kTypeName<std::int64_t> = "an integer";
template <>
constexpr std::string_view kTypeName<double> = "a number";
template <>
constexpr std::string_view kTypeName<bool> = "true or false";
template <>
constexpr std::string_view kTypeName<Json> = "a value";
template <>
constexpr std::string_view kTypeName<std::vector<std::string>> = "a list of strings";
template <>
constexpr std::string_view kTypeName<std::vector<std::int64_t>> = "a list of integers";
template <>
constexpr std::string_view kTypeName<std::vector<double>> = "a list of numbers";

template <class T>
bool fits(const Json& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value.is_boolean();
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return value.is_number_integer();
  } else if constexpr (std::is_same_v<T, double>) {
    return value.is_number();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value.is_string();
  } else if constexpr (std::is_same_v<T, Json>) {
    return true;
  } else {
    if (!value.is_array()) return false;
    for (const Json& item : value) {
      if (!fits<typename T::value_type>(item)) return false;
    }
    return true;
  }
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned char first = byte(i);
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xc2 ? 0
                               : first < 0xe0 ? 2
                               : first < 0xf0 ? 3
                               : first < 0xf5 ? 4
                                              : 0;
    if (length == 0 || length > text.size() - i) return false;
    for (std::size_t j = 1; j < length; ++j) {
      if ((byte(i + j) & 0xc0) != 0x80) return false;
    }
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    if (length > 2) {
      const unsigned char second = byte(i + 1);
      if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
          (first == 0xf4 && second > 0x8f)) {
        return false;
      }
    }
    i += length;
  }
  return true;
}

Json parse_json(std::string_view text, std::string_view name) {
  check_depth(text, name);
  try {
    return Json::parse(text);
  } catch (const Json::exception& problem) {
    throw Error(fmt::format("{}: expected JSON: {}", name, problem.what()));
  }
}

Json read_json(const std::filesystem::path& path, std::uint64_t limit) {
  return parse_json(read_file(path, limit), path.string());
}

void write_json(const std::filesystem::path& path, const Json& value) {
  write_file(path, value.dump(2) + "\n");
}

template <class T>
T json_at(const Json& object, std::string_view key, std::string_view where) {
  if (!object.is_object()) throw Error(fmt::format("{}: expected an object with \"{}\"", where, key));
  const auto found = object.find(key);
  if (found == object.end()) throw Error(fmt::format("{}: expected \"{}\", which is missing", where, key));
  if (!fits<T>(*found)) {
    const std::string shown = found->dump(-1, ' ', true, Json::error_handler_t::replace);
    throw Error(fmt::format("{}: expected \"{}\" to be {}, found {}", where, key, kTypeName<T>, shown.substr(0, 60)));
  }
  return found->template get<T>();
}

template std::string json_at(const Json&, std::string_view, std::string_view);
template std::int64_t json_at(const Json&, std::string_view, std::string_view);
template double json_at(const Json&, std::string_view, std::string_view);
template bool json_at(const Json&, std::string_view, std::string_view);
template Json json_at(const Json&, std::string_view, std::string_view);
template std::vector<std::string> json_at(const Json&, std::string_view, std::string_view);
template std::vector<std::int64_t> json_at(const Json&, std::string_view, std::string_view);
template std::vector<double> json_at(const Json&, std::string_view, std::string_view);

}  // namespace attune

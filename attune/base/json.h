#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace attune {

/// JSON with the keys in the order in which they were written.
using Json = nlohmann::ordered_json;

/// Whether a text is UTF-8, as JSON strings must be.
bool is_utf8(std::string_view text);

/// Parses a text; `name` (usually the file's path) is named in the error. Nesting deeper than 64 is refused.
Json parse_json(std::string_view text, std::string_view name);

/// Parses a file. Throws Error that names the path.
Json read_json(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{1} << 30);

/// Writes a file atomically, indented by two spaces, with a line end.
void write_json(const std::filesystem::path& path, const Json& value);

/// The member `key` of an object, as T. Throws Error that names `where`, the key and the type that was expected.
template <class T>
T json_at(const Json& object, std::string_view key, std::string_view where);
/// The same with a default for an absent or null member.
template <class T>
T json_or(const Json& object, std::string_view key, T otherwise, std::string_view where) {
  if (!object.is_object()) return json_at<T>(object, key, where);
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? otherwise : json_at<T>(object, key, where);
}

}  // namespace attune

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/json.h"

namespace attune {

/// One configuration key: its dotted name, its default (whose JSON type is the key's type; null means "a value that
/// is worked out"), what it means, and other names by which users know it.
struct Key {
  std::string name;
  Json otherwise;
  std::string meaning;
  std::vector<std::string> aliases = {};
};
using Schema = std::vector<Key>;

/// Values for the keys of a schema. Unknown keys and values of the wrong type are UsageErrors that name the key, where
/// it came from and the nearest known key.
class Config {
 public:
  Config() = default;
  explicit Config(Schema schema);

  /// Adds keys, for a component that is chosen by the value of another key. A key added twice must agree.
  void extend(const Schema& schema);

  /// Nested YAML maps become dotted keys. What to_yaml would write then is at most 256 KiB, else a UsageError.
  void merge_yaml(std::string_view text, std::string_view name);
  void merge_yaml_file(const std::filesystem::path& path);
  /// "key=value"; the value is read as YAML. `name` says where it came from, such as "--set".
  void set(std::string_view assignment, std::string_view name);
  void set(std::string_view key, const Json& value, std::string_view name);

  bool has(std::string_view key) const;
  /// True where a value was given, false where the default stands.
  bool given(std::string_view key) const;
  std::string text(std::string_view key) const;
  std::int64_t integer(std::string_view key) const;
  /// The same; throws UsageError that names the key unless it is `least` to `most`.
  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most) const;
  double number(std::string_view key) const;
  bool flag(std::string_view key) const;
  const Json& value(std::string_view key) const;

  const Schema& schema() const { return schema_; }
  /// Every key with its value, in the order of the schema, as YAML that merge_yaml reads back.
  std::string to_yaml() const;
  Json to_json() const;

 private:
  std::size_t find(std::string_view key) const;
  std::size_t find_or_throw(std::string_view key, std::string_view name) const;
  void check_size(std::string_view name) const;

  Schema schema_;
  std::vector<Json> values_;
  std::vector<bool> given_;
};

/// A YAML text as JSON: maps, lists, and scalars read as null, booleans, integers, numbers or strings. Anchors that
/// refer to themselves, tags and depth beyond 32 are refused. `name` is named in errors.
Json parse_yaml(std::string_view text, std::string_view name);

/// The candidate nearest to `word` in edit distance, or an empty text where none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// The end of an error text that names the word that `nearest` found, between `quote`s; empty where it found none.
std::string did_you_mean(std::string_view near, std::string_view quote = "");

}  // namespace attune

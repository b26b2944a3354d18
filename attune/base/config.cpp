#include "attune/base/config.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"

namespace attune {
namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 20;
/// Of the written configuration, where aliases are copies: small enough that parse_yaml reads it back whatever its
/// values are.
constexpr std::size_t kLargestWritten = std::size_t{1} << 18;
/// YAML reads no longer text as a key unless "?" announces it (YAML 1.2.2, section 7.4.3).
constexpr std::size_t kLongestPlainKey = 1000;

std::string shown(const Json& value) {
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

/// What a key with this default takes.
std::string_view kind_of(const Json& otherwise) {
  if (otherwise.is_boolean()) return "true or false";
  if (otherwise.is_number_integer()) return "an integer";
  if (otherwise.is_number()) return "a number";
  if (otherwise.is_string()) return "a text (quote it if it looks like a number)";
  if (otherwise.is_array()) return "a list";
  if (otherwise.is_object()) return "a map";
  return "a single value";
}

bool fits(const Json& value, const Json& otherwise) {
  if (otherwise.is_null()) return !value.is_structured();
  if (otherwise.is_number_integer()) return value.is_number_integer();
  if (otherwise.is_number()) return value.is_number();
  return value.type() == otherwise.type();
}

bool same_key(const Key& a, const Key& b) {
  return a.name == b.name && a.otherwise == b.otherwise && a.otherwise.type() == b.otherwise.type() &&
         a.aliases == b.aliases;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t corner = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = corner + (a[i] == b[j] ? 0 : 1);
      corner = row[j + 1];
      row[j + 1] = std::min({replaced, corner + 1, row[j] + 1});
    }
  }
  return row.back();
}

/// A text that YAML reads as itself without quotes.
bool is_plain(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/'; };
  const auto inner = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  if (text.empty() || !letter(text[0]) || !std::all_of(text.begin(), text.end(), inner)) return false;
  return parse_yaml(text, "text") == Json(text);
}

std::string yaml_of(const Json& value) {
  if (value.is_string()) return is_plain(value.get_ref<const std::string&>()) ? value.get<std::string>() : value.dump();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::isnan(number)) return ".nan";
    if (std::isinf(number)) return number > 0 ? ".inf" : "-.inf";
  }
  if (!value.is_structured()) return value.dump();
  std::string text;
  for (const auto& [key, item] : value.items()) {
    if (!text.empty()) text += ", ";
    if (value.is_object()) {
      const std::string written = Json(key).dump();
      text += (written.size() > kLongestPlainKey ? "? " : "") + written + ": ";
    }
    text += yaml_of(item);
  }
  return value.is_array() ? "[" + text + "]" : "{" + text + "}";
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kLongest = 200;
  std::string best;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  if (word.size() > kLongest) return best;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongest) continue;
    const std::size_t edits = distance(word, candidate);
    // A word that has nothing in common with a short candidate is not near it.
    if (edits < least && edits < std::max(word.size(), candidate.size())) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view near, std::string_view quote) {
  return near.empty() ? "" : fmt::format("; did you mean {0}{1}{0}?", quote, near);
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): a schema is made for its one use
Config::Config(Schema schema) {
  extend(schema);
}

void Config::extend(const Schema& schema) {
  for (const Key& key : schema) {
    const std::size_t known = find(key.name);
    if (known < schema_.size()) {
      if (!same_key(schema_[known], key)) {
        throw Error(fmt::format("configuration: expected {} to be declared alike everywhere, found defaults {} and {}",
                                key.name, shown(schema_[known].otherwise), shown(key.otherwise)));
      }
      continue;
    }
    for (const std::string& alias : key.aliases) {
      if (find(alias) < schema_.size()) {
        throw Error(fmt::format("configuration: expected the alias {} of {} to be new, found it for {}", alias,
                                key.name, schema_[find(alias)].name));
      }
    }
    schema_.push_back(key);
    values_.push_back(key.otherwise);
    given_.push_back(false);
  }
}

std::size_t Config::find(std::string_view key) const {
  const auto found = std::find_if(schema_.begin(), schema_.end(), [&](const Key& known) {
    return known.name == key || std::find(known.aliases.begin(), known.aliases.end(), key) != known.aliases.end();
  });
  return static_cast<std::size_t>(found - schema_.begin());
}

std::size_t Config::find_or_throw(std::string_view key, std::string_view name) const {
  const std::size_t found = find(key);
  if (found < schema_.size()) return found;
  std::vector<std::string> names;
  for (const Key& known : schema_) {
    names.push_back(known.name);
    names.insert(names.end(), known.aliases.begin(), known.aliases.end());
  }
  std::string near = nearest(key, names);
  if (near.empty()) {
    // Users write "rate" for "optimiser.rate".
    const auto last = [](std::string_view text) { return std::string(text.substr(text.rfind('.') + 1)); };
    std::vector<std::string> ends;
    ends.reserve(names.size());
    for (const std::string& known : names) ends.push_back(last(known));
    const std::string end = nearest(last(key), ends);
    if (!end.empty()) near = names[static_cast<std::size_t>(std::find(ends.begin(), ends.end(), end) - ends.begin())];
  }
  throw UsageError(fmt::format("{}: expected a known key, found {}{}", name, key, did_you_mean(near)));
}

void Config::merge_yaml(std::string_view text, std::string_view name) {
  const Json root = parse_yaml(text, name);
  if (root.is_null()) return;
  if (!root.is_object()) throw UsageError(fmt::format("{}: expected a map of keys, found {}", name, shown(root)));
  // Everything is checked before anything changes.
  Config merged = *this;
  std::set<std::size_t> seen;
  const auto visit = [&](const auto& self, const std::string& prefix, const Json& map) -> void {
    for (const auto& [part, value] : map.items()) {
      const std::string key = prefix.empty() ? part : fmt::format("{}.{}", prefix, part);
      const std::size_t at = merged.find(key);
      // A map below the name of an alias ("context" stands for context.length) is a map of keys, unless a map is
      // wanted.
      const bool wants_map = at < schema_.size() && schema_[at].otherwise.is_object();
      if (value.is_object() && !value.empty() && !wants_map) {
        self(self, key, value);
        continue;
      }
      merged.set(key, value, name);
      if (!seen.insert(at).second) {
        throw UsageError(fmt::format("{}: expected {} once, found it twice", name, schema_[at].name));
      }
    }
  };
  visit(visit, "", root);
  merged.check_size(name);
  *this = std::move(merged);
}

void Config::merge_yaml_file(const std::filesystem::path& path) {
  merge_yaml(read_file(path, kLargestFile), path.string());
}

void Config::set(std::string_view assignment, std::string_view name) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw UsageError(fmt::format("{}: expected key=value, found {}", name, assignment));
  }
  const std::string_view key = assignment.substr(0, equals);
  find_or_throw(key, name);
  Json value;
  try {
    value = parse_yaml(assignment.substr(equals + 1), fmt::format("{} {}", name, key));
  } catch (const Error& problem) {
    throw UsageError(problem.what());
  }
  Config changed = *this;
  changed.set(key, value, name);
  changed.check_size(name);
  *this = std::move(changed);
}

void Config::set(std::string_view key, const Json& value, std::string_view name) {
  const std::size_t at = find_or_throw(key, name);
  const Json& otherwise = schema_[at].otherwise;
  if (!fits(value, otherwise)) {
    throw UsageError(
        fmt::format("{}: expected {} for {}, found {}", name, kind_of(otherwise), schema_[at].name, shown(value)));
  }
  values_[at] = otherwise.is_number_float() ? Json(value.get<double>()) : value;
  given_[at] = true;
}

void Config::check_size(std::string_view name) const {
  const std::size_t size = to_yaml().size();
  if (size > kLargestWritten) {
    throw UsageError(
        fmt::format("{}: expected a configuration of at most {} bytes with its aliases replaced by copies, found {}",
                    name, kLargestWritten, size));
  }
}

bool Config::has(std::string_view key) const {
  return find(key) < schema_.size();
}

bool Config::given(std::string_view key) const {
  return given_[find_or_throw(key, "configuration")];
}

const Json& Config::value(std::string_view key) const {
  return values_[find_or_throw(key, "configuration")];
}

std::string Config::text(std::string_view key) const {
  const Json& found = value(key);
  if (found.is_string()) return found.get<std::string>();
  throw UsageError(fmt::format("configuration: expected a text for {}, found {}", key, shown(found)));
}

std::int64_t Config::integer(std::string_view key) const {
  const Json& found = value(key);
  if (found.is_number_integer()) return found.get<std::int64_t>();
  throw UsageError(fmt::format("configuration: expected an integer for {}, found {}", key, shown(found)));
}

std::int64_t Config::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  const std::int64_t value = integer(key);
  if (value < least || value > most) {
    throw UsageError(fmt::format("{}: expected {} to {}, found {}", key, least, most, value));
  }
  return value;
}

double Config::number(std::string_view key) const {
  const Json& found = value(key);
  if (found.is_number()) return found.get<double>();
  throw UsageError(fmt::format("configuration: expected a number for {}, found {}", key, shown(found)));
}

bool Config::flag(std::string_view key) const {
  const Json& found = value(key);
  if (found.is_boolean()) return found.get<bool>();
  throw UsageError(fmt::format("configuration: expected true or false for {}, found {}", key, shown(found)));
}

std::string Config::to_yaml() const {
  std::string text;
  for (std::size_t i = 0; i < schema_.size(); ++i) text += schema_[i].name + ": " + yaml_of(values_[i]) + "\n";
  return text;
}

Json Config::to_json() const {
  Json object = Json::object();
  for (std::size_t i = 0; i < schema_.size(); ++i) object[schema_[i].name] = values_[i];
  return object;
}

}  // namespace attune

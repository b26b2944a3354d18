#include "attune/data/split_files.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"

namespace attune {
namespace {

std::string text_of(const Json& value, std::string_view what, const std::string& where) {
  if (!value.is_string()) throw Error(fmt::format("{}: expected {} to be a string", where, what));
  return value.get<std::string>();
}

std::int64_t index_of(const Json& value, std::string_view what, const std::string& where) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() > 1'000'000) {
    throw Error(fmt::format("{}: expected {} to be an integer between 0 and 1000000", where, what));
  }
  return value.get<std::int64_t>();
}

Entry entry_of_list(const Json& item, const std::string& where) {
  if (!item.is_array() || (item.size() != 3 && item.size() != 4)) {
    throw Error(fmt::format("{}: expected [path, label, class name] or [path, label, domain, class name]", where));
  }
  Entry entry;
  entry.where = where;
  entry.path = text_of(item[0], "the path", where);
  entry.label = index_of(item[1], "the label", where);
  if (item.size() == 4) entry.domain = fmt::format("{}", index_of(item[2], "the domain", where));
  entry.class_name = text_of(item.back(), "the class name", where);
  return entry;
}

/// The first of `keys` that the object has, or null.
const Json* member(const Json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto found = object.find(key);
    if (found != object.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

Entry entry_of_object(const Json& item, const std::string& where, Part part) {
  if (!item.is_object()) throw Error(fmt::format("{}: expected an object", where));
  Entry entry;
  entry.where = where;
  entry.part = part;
  const Json* path = member(item, {"impath", "filepath", "path", "image"});
  if (path == nullptr) throw Error(fmt::format("{}: expected \"impath\", \"filepath\", \"path\" or \"image\"", where));
  entry.path = text_of(*path, "the path", where);
  const Json* label = member(item, {"label"});
  const Json* name = member(item, {"classname", "class_name"});
  if (label == nullptr && name == nullptr) throw Error(fmt::format("{}: expected \"label\" or \"classname\"", where));
  if (name != nullptr) entry.class_name = text_of(*name, "the class name", where);
  if (label != nullptr && label->is_string() && name == nullptr) {
    entry.class_name = label->get<std::string>();
  } else if (label != nullptr) {
    entry.label = index_of(*label, "the label", where);
  }
  if (const Json* split = member(item, {"split"})) entry.part = part_named(text_of(*split, "the split", where), where);
  if (const Json* domain = member(item, {"domain"})) {
    entry.domain = domain->is_number() ? fmt::format("{}", index_of(*domain, "the domain", where))
                                       : text_of(*domain, "the domain", where);
  }
  if (const Json* caption = member(item, {"caption"})) entry.caption = text_of(*caption, "the caption", where);
  return entry;
}

std::vector<std::string> folders_of(const std::string& path) {
  std::vector<std::string> names;
  std::size_t begin = 0;
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', begin)) {
    names.push_back(path.substr(begin, slash - begin));
    begin = slash + 1;
  }
  return names;
}

/// The folders that stand at `depth` in the paths of each domain, where each domain has one and no two share it.
std::optional<std::map<std::string, std::string>> domains_at(const Listing& listing, std::size_t depth) {
  std::map<std::string, std::string> names;
  for (const Entry& entry : listing.entries) {
    const std::vector<std::string> folders = folders_of(entry.path);
    if (folders.size() <= depth) return std::nullopt;
    const auto [known, is_new] = names.emplace(entry.domain, folders[depth]);
    if (!is_new && known->second != folders[depth]) return std::nullopt;
  }
  std::set<std::string> distinct;
  for (const auto& [index, name] : names) distinct.insert(name);
  if (distinct.size() != names.size() || names.size() < 2) return std::nullopt;
  return names;
}

}  // namespace

Listing parse_split_json(std::string_view text, std::string_view where) {
  const Json json = parse_json(text, where);
  if (!json.is_object()) throw Error(fmt::format("{}: expected an object with \"train\", \"val\" and \"test\"", where));
  Listing listing;
  std::size_t width = 0;
  for (const char* name : {"train", "val", "test"}) {
    const auto list = json.find(name);
    if (list == json.end()) continue;
    if (!list->is_array()) throw Error(fmt::format("{}: expected \"{}\" to be a list", where, name));
    for (std::size_t i = 0; i < list->size(); ++i) {
      Entry entry = entry_of_list((*list)[i], fmt::format("{}: {}[{}]", where, name, i));
      if (width == 0) width = (*list)[i].size();
      if ((*list)[i].size() != width) {
        throw Error(
            fmt::format("{}: expected a list of {} as before, found {}", entry.where, width, (*list)[i].size()));
      }
      entry.part = part_named(name, where);
      listing.entries.push_back(std::move(entry));
    }
  }
  if (listing.entries.empty())
    throw Error(fmt::format("{}: expected pictures under \"train\", \"val\" or \"test\", found none", where));
  return listing;
}

Listing parse_jsonl(std::string_view text, std::string_view where, Part part) {
  Listing listing;
  std::int64_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string here = fmt::format("{}:{}", where, number);
    listing.entries.push_back(entry_of_object(parse_json(line, here), here, part));
  }
  if (listing.entries.empty()) throw Error(fmt::format("{}: expected a picture a line, found none", where));
  return listing;
}

void name_indexed_domains(Listing& listing, const std::vector<std::pair<std::string, std::string>>& letters) {
  std::map<std::string, std::string> names(letters.begin(), letters.end());
  for (std::size_t depth = 0; depth < 8; ++depth) {
    if (const auto found = domains_at(listing, depth)) {
      names = *found;
      break;
    }
  }
  for (Entry& entry : listing.entries) {
    const auto name = names.find(entry.domain);
    if (name != names.end()) entry.domain = name->second;
  }
}

}  // namespace attune

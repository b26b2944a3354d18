#include "attune/data/class_names.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/data/known_sets.h"
#include "attune/data/listing.h"

namespace attune {
namespace {

constexpr std::uint64_t kLargestFile = 64U << 20;

std::vector<std::string> lines_of(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::string> lines;
  std::istringstream in{std::string(text)};
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::pair<std::string, std::string> split_first_word(const std::string& line) {
  const std::size_t blank = line.find_first_of(" \t");
  if (blank == std::string::npos) return {line, ""};
  return {line.substr(0, blank), line.substr(std::min(line.find_first_not_of(" \t", blank), line.size()))};
}

void apply(const ClassNameFile& file, Dataset& dataset, const std::vector<std::string>& raw_classes,
           const std::string& where) {
  if (!file.in_order.empty()) {
    if (file.in_order.size() != raw_classes.size()) {
      throw Error(fmt::format("{}: expected {} class names, one for each class, found {}", where, raw_classes.size(),
                              file.in_order.size()));
    }
    dataset.classes = file.in_order;
    return;
  }
  std::size_t used = 0;
  for (std::size_t i = 0; i < raw_classes.size(); ++i) {
    const auto found = file.by_name.find(raw_classes[i]);
    if (found == file.by_name.end()) continue;
    dataset.classes[i] = found->second;
    ++used;
  }
  if (used == 0) {
    throw Error(fmt::format("{}: expected names for classes such as \"{}\", found none of the classes", where,
                            raw_classes.front()));
  }
  if (used < raw_classes.size() || used < file.by_name.size()) {
    dataset.notes.push_back(fmt::format("{} names {} of {} classes and {} that are not in the dataset", where, used,
                                        raw_classes.size(), file.by_name.size() - used));
  }
}

}  // namespace

ClassNameFile parse_class_names_json(std::string_view text, std::string_view where) {
  const Json json = parse_json(text, where);
  ClassNameFile file;
  if (json.is_array() && !json.empty()) {
    for (std::size_t i = 0; i < json.size(); ++i) {
      if (!json[i].is_string()) throw Error(fmt::format("{}: expected class name {} to be a string", where, i));
      file.in_order.push_back(json[i].get<std::string>());
    }
  } else if (json.is_object() && !json.empty()) {
    for (const auto& [raw, name] : json.items()) {
      if (!name.is_string()) throw Error(fmt::format("{}: expected the name of \"{}\" to be a string", where, raw));
      if (!file.by_name.emplace(raw, name.get<std::string>()).second) {
        throw Error(fmt::format("{}: expected each class once, found \"{}\" twice", where, raw));
      }
    }
  } else {
    throw Error(fmt::format("{}: expected a list of class names or an object from folder to name", where));
  }
  return file;
}

ClassNameFile parse_class_names_text(std::string_view text, const std::vector<std::string>& raw_classes,
                                     std::string_view where) {
  const std::vector<std::string> lines = lines_of(text);
  if (lines.empty()) throw Error(fmt::format("{}: expected class names, found an empty file", where));
  const std::set<std::string> known(raw_classes.begin(), raw_classes.end());
  ClassNameFile file;
  const bool ids = std::all_of(lines.begin(), lines.end(), [](const std::string& line) {
    return is_wordnet_id(split_first_word(line).first) && !split_first_word(line).second.empty();
  });
  const bool numbers = known.contains("0") && known.contains(std::to_string(raw_classes.size() - 1));
  if (ids && numbers) {  // ImageNetV2's folders are the numbers of ImageNet's classes
    for (std::size_t i = 0; i < lines.size(); ++i)
      file.by_name.emplace(std::to_string(i), split_first_word(lines[i]).second);
    return file;
  }
  const bool pairs = std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
    const auto [raw, name] = split_first_word(line);
    return !name.empty() && known.contains(raw);
  });
  if (!pairs) {
    file.in_order = lines;
    return file;
  }
  for (const std::string& line : lines) {
    const auto [raw, name] = split_first_word(line);
    if (name.empty()) throw Error(fmt::format("{}: expected \"folder name\", found \"{}\"", where, line));
    if (!file.by_name.emplace(raw, name).second) {
      throw Error(fmt::format("{}: expected each class once, found \"{}\" twice", where, raw));
    }
  }
  return file;
}

void check_class_names(const std::vector<std::string>& names, std::string_view where) {
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    if (name.empty()) throw Error(fmt::format("{}: expected every class to have a name, found an empty one", where));
    if (!seen.insert(name).second) {
      throw Error(fmt::format("{}: expected every class to have a name of its own, found \"{}\" twice", where, name));
    }
  }
}

void name_classes(Dataset& dataset, const std::vector<std::string>& raw_classes) {
  dataset.classes.clear();
  for (const std::string& raw : raw_classes) dataset.classes.push_back(readable_name(raw));
  const auto json = dataset.root / "classnames.json";
  const auto text = dataset.root / "classnames.txt";
  const bool has_json = std::filesystem::exists(json);
  const bool has_text = std::filesystem::exists(text);
  if (has_json && has_text) {
    throw Error(fmt::format("{}: expected classnames.json or classnames.txt, found both", dataset.root.string()));
  }
  if (has_json) {
    apply(parse_class_names_json(read_file(json, kLargestFile), json.string()), dataset, raw_classes, json.string());
  } else if (has_text) {
    apply(parse_class_names_text(read_file(text, kLargestFile), raw_classes, text.string()), dataset, raw_classes,
          text.string());
  }
  // The names that CLIP's authors gave ImageNet's classes hold "sunglasses" and others twice.
  if (!std::all_of(raw_classes.begin(), raw_classes.end(), is_wordnet_id))
    check_class_names(dataset.classes, dataset.root.string());
}

}  // namespace attune

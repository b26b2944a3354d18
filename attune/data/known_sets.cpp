#include "attune/data/known_sets.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kLargestAircraftList = 64U << 20;
/// CoOp's names for the folders of ImageNetV2, -Sketch, -A and -R.
constexpr std::array<std::string_view, 4> kVariants = {"imagenetv2", "imagenet-sketch", "imagenet-adversarial",
                                                       "imagenet-rendition"};

std::vector<std::string_view> aircraft_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool has_class_name_file(const Dataset& dataset) {
  return fs::exists(dataset.root / "classnames.json") || fs::exists(dataset.root / "classnames.txt");
}

}  // namespace

bool is_aircraft_folder(const fs::path& folder) {
  return fs::exists(folder / "images_variant_train.txt") && fs::is_directory(folder / "images");
}

Listing parse_aircraft_list(std::string_view text, const std::vector<std::string>& variants, Part part,
                            const std::string& where) {
  std::map<std::string_view, std::int64_t> labels;
  for (const std::string& name : variants) labels.emplace(name, static_cast<std::int64_t>(labels.size()));
  Listing listing;
  std::int64_t number = 0;
  for (const std::string_view line : aircraft_lines(text)) {
    ++number;
    if (line.empty()) continue;
    Entry entry;
    entry.where = fmt::format("{}:{}", where, number);
    const std::size_t blank = line.find(' ');
    const auto label = labels.find(blank == std::string_view::npos ? std::string_view() : line.substr(blank + 1));
    if (label == labels.end())
      throw Error(fmt::format("{}: expected a picture and a class of variants.txt, found \"{}\"", entry.where, line));
    entry.path = fmt::format("images/{}.jpg", line.substr(0, blank));
    entry.class_name = label->first;
    entry.label = label->second;
    entry.part = part;
    listing.entries.push_back(std::move(entry));
  }
  return listing;
}

Listing list_aircraft(const fs::path& folder) {
  const std::string names = read_file(folder / "variants.txt", kLargestAircraftList);
  std::vector<std::string> variants;
  for (const std::string_view line : aircraft_lines(names)) {
    if (!line.empty()) variants.emplace_back(line);
  }
  Listing listing;
  const std::pair<const char*, Part> parts[] = {{"train", Part::kTrain}, {"val", Part::kVal}, {"test", Part::kTest}};
  for (const auto& [name, part] : parts) {
    const fs::path file = folder / fmt::format("images_variant_{}.txt", name);
    Listing one = parse_aircraft_list(read_file(file, kLargestAircraftList), variants, part, file.string());
    std::move(one.entries.begin(), one.entries.end(), std::back_inserter(listing.entries));
  }
  return listing;
}

bool is_wordnet_id(std::string_view name) {
  return name.size() == 9 && name.front() == 'n' && name.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

void complete_known_set(Dataset& dataset, const std::vector<std::string>& raw_classes) {
  const bool vlcs = raw_classes == std::vector<std::string>{"0", "1", "2", "3", "4"} && dataset.domains.size() > 1;
  if (vlcs && !has_class_name_file(dataset)) dataset.classes = {"bird", "car", "chair", "dog", "person"};
  if (std::find(kVariants.begin(), kVariants.end(), dataset.name) != kVariants.end()) {
    dataset.test.insert(dataset.test.end(), dataset.all.begin(), dataset.all.end());
    dataset.all.clear();
  } else if (std::all_of(raw_classes.begin(), raw_classes.end(), is_wordnet_id) && dataset.test.empty()) {
    dataset.test = dataset.val;
  }
}

}  // namespace attune

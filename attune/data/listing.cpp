#include "attune/data/listing.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

// A label names a row of a weight matrix, so a number far beyond any real set of classes is a mistake in the file.
constexpr std::int64_t kMostClasses = 1'000'000;

std::optional<Part> find_part(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Part>, 8> kParts = {{{"train", Part::kTrain},
                                                                               {"training", Part::kTrain},
                                                                               {"val", Part::kVal},
                                                                               {"valid", Part::kVal},
                                                                               {"validation", Part::kVal},
                                                                               {"dev", Part::kVal},
                                                                               {"test", Part::kTest},
                                                                               {"testing", Part::kTest}}};
  for (const auto& [known, part] : kParts) {
    if (known == name) return part;
  }
  return std::nullopt;
}

std::vector<std::string> names_by_label(const Listing& listing) {
  std::map<std::int64_t, std::string> names;
  for (const Entry& entry : listing.entries) {
    if (entry.label < 0 || entry.label >= kMostClasses) {
      throw Error(
          fmt::format("{}: expected a label between 0 and {}, found {}", entry.where, kMostClasses - 1, entry.label));
    }
    const auto [known, is_new] = names.emplace(entry.label, entry.class_name);
    if (!is_new && known->second != entry.class_name) {
      throw Error(fmt::format("{}: expected label {} to be \"{}\" as before, found \"{}\"", entry.where, entry.label,
                              known->second, entry.class_name));
    }
  }
  std::vector<std::string> classes;
  for (const auto& [label, name] : names) {
    if (label != static_cast<std::int64_t>(classes.size())) {
      throw Error(fmt::format("{}: expected labels without a gap, but no picture has label {} and some have {}",
                              listing.entries.front().where, classes.size(), label));
    }
    classes.push_back(name.empty() ? fmt::format("class {}", label) : name);
  }
  return classes;
}

std::vector<std::string> names_in_order(const Listing& listing) {
  std::set<std::string> names;
  for (const Entry& entry : listing.entries) {
    if (entry.class_name.empty())
      throw Error(fmt::format("{}: expected the name of a class, found nothing", entry.where));
    names.insert(entry.class_name);
  }
  return {names.begin(), names.end()};
}

std::vector<Sample>& part_of(Dataset& dataset, Part part) {
  switch (part) {
    case Part::kTrain:
      return dataset.train;
    case Part::kVal:
      return dataset.val;
    case Part::kTest:
      return dataset.test;
    case Part::kAll:
      break;
  }
  return dataset.all;
}

}  // namespace

bool is_part_name(std::string_view name) {
  return find_part(name).has_value();
}

Part part_named(std::string_view name, std::string_view where) {
  if (const auto part = find_part(name)) return *part;
  throw Error(fmt::format("{}: expected a part (train, val or test), found \"{}\"", where, name));
}

std::string readable_name(std::string_view raw) {
  std::string name;
  for (const char c : raw) {
    const bool blank = c == '_' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!blank) {
      name += c;
    } else if (!name.empty() && name.back() != ' ') {
      name += ' ';
    }
  }
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}

Dataset number_classes(const Listing& listing, std::vector<std::string>& raw_classes) {
  if (listing.entries.empty()) throw Error("dataset: expected at least one picture, found none");
  const bool labelled = listing.entries.front().label >= 0;
  std::set<std::string> domains;
  for (const Entry& entry : listing.entries) {
    if ((entry.label >= 0) != labelled) {
      throw Error(fmt::format("{}: expected a label of at least 0, found {}", entry.where, entry.label));
    }
    domains.insert(entry.domain);
  }
  if (domains.size() > 1 && domains.contains("")) {
    const auto lacking =
        std::find_if(listing.entries.begin(), listing.entries.end(), [](const Entry& e) { return e.domain.empty(); });
    throw Error(fmt::format("{}: expected the name of a domain, as other pictures have one", lacking->where));
  }
  Dataset dataset;
  raw_classes = labelled ? names_by_label(listing) : names_in_order(listing);
  dataset.classes = raw_classes;
  dataset.domains.assign(domains.begin(), domains.end());
  dataset.notes = listing.notes;
  std::map<std::string_view, std::int64_t> class_index, domain_index;
  for (const std::string& name : raw_classes) class_index.emplace(name, class_index.size());
  for (const std::string& name : dataset.domains) domain_index.emplace(name, domain_index.size());
  for (const Entry& entry : listing.entries) {
    Sample sample;
    sample.path = entry.path;
    sample.label = labelled ? entry.label : class_index.at(entry.class_name);
    sample.domain = domain_index.at(entry.domain);
    sample.caption = entry.caption;
    part_of(dataset, entry.part).push_back(std::move(sample));
  }
  return dataset;
}

std::string path_inside(std::string_view path, const std::filesystem::path& root, std::string_view where) {
  if (path.empty() || path.find('\0') != std::string_view::npos) {
    throw Error(
        fmt::format("{}: expected the path of a picture, found {}", where, path.empty() ? "nothing" : "a zero byte"));
  }
  std::filesystem::path given(path);
  if (given.is_absolute())
    given = given.lexically_normal().lexically_relative(std::filesystem::absolute(root).lexically_normal());
  const std::filesystem::path normal = given.lexically_normal();
  if (normal.empty() || *normal.begin() == ".." || normal == ".") {
    throw Error(fmt::format("{}: expected a path inside {}, found \"{}\"", where, root.string(), path));
  }
  return normal.generic_string();
}

}  // namespace attune

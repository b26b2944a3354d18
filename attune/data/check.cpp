#include "attune/data/check.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/data/parallel.h"
#include "attune/images/decode.h"

namespace attune {
namespace {

constexpr std::size_t kLongestName = 60;

/// A file and the places where the dataset lists it.
struct File {
  std::filesystem::path path;
  std::set<int> parts;
  std::set<std::int64_t> labels;
  int uses = 0;
  std::string hash, problem;
  int short_side = 0, long_side = 0;
};

std::vector<File> files_of(const Dataset& dataset) {
  std::map<std::string, File> files;
  const std::array<const std::vector<Sample>*, 4> parts = {&dataset.train, &dataset.val, &dataset.test, &dataset.all};
  for (int part = 0; part < 4; ++part) {
    for (const Sample& sample : *parts[static_cast<std::size_t>(part)]) {
      File& file = files[sample.path.string()];
      file.path = sample.path;
      file.parts.insert(part);
      file.labels.insert(sample.label);
      ++file.uses;
    }
  }
  std::vector<File> list;
  list.reserve(files.size());
  for (auto& [name, file] : files) list.push_back(std::move(file));
  return list;
}

void read(const Dataset& dataset, File& file) {
  const std::filesystem::path path = file.path.is_absolute() ? file.path : dataset.root / file.path;
  try {
    const std::string bytes = read_file(path);
    file.hash = sha256(bytes);
    const Image image = decode_image(std::as_bytes(std::span(bytes)), path.string());
    file.short_side = std::min(image.width, image.height);
    file.long_side = std::max(image.width, image.height);
  } catch (const Error& error) {
    file.problem = error.what();
  }
}

void count(const Dataset& dataset, DatasetReport& report) {
  for (const std::string& name : dataset.classes) report.classes.push_back({name});
  for (const std::string& name : dataset.domains) report.domains.push_back({name});
  report.whole.name = dataset.name;
  const auto add = [&](const std::vector<Sample>& samples, std::int64_t PartCounts::*part) {
    for (const Sample& sample : samples) {
      ++(report.classes[static_cast<std::size_t>(sample.label)].*part);
      ++(report.domains[static_cast<std::size_t>(sample.domain)].*part);
      ++(report.whole.*part);
    }
  };
  add(dataset.train, &PartCounts::train);
  add(dataset.val, &PartCounts::val);
  add(dataset.test, &PartCounts::test);
  add(dataset.all, &PartCounts::all);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool is_placeholder(const std::string& name) {
  std::string stem = lower(name);
  while (!stem.empty() && (std::isdigit(static_cast<unsigned char>(stem.back())) != 0 || stem.back() == ' '))
    stem.pop_back();
  if (stem.size() == name.size()) return false;
  return stem.empty() || stem == "class" || stem == "label" || stem == "category" || (stem == "n" && name.size() == 9);
}

}  // namespace

std::vector<std::string> class_name_problems(const std::vector<std::string>& classes) {
  std::vector<std::string> problems;
  std::map<std::string, std::string> seen;
  for (const std::string& name : classes) {
    if (is_placeholder(name))
      problems.push_back(fmt::format("\"{}\" tells a text model nothing: name it in classnames.json", name));
    if (name.size() > kLongestName)
      problems.push_back(fmt::format("\"{}\" is longer than {} bytes", name, kLongestName));
    const auto [known, is_new] = seen.emplace(lower(name), name);
    if (!is_new)
      problems.push_back(
          fmt::format("\"{}\" and \"{}\" differ in case only, which CLIP's tokenizer drops", known->second, name));
  }
  return problems;
}

DatasetReport check_dataset(const Dataset& dataset, int threads, Progress* progress) {
  DatasetReport report;
  count(dataset, report);
  report.notes = dataset.notes;
  report.name_problems = class_name_problems(dataset.classes);
  std::vector<File> files = files_of(dataset);
  parallel_for(
      static_cast<std::int64_t>(files.size()), threads,
      [&](std::int64_t i) { read(dataset, files[static_cast<std::size_t>(i)]); }, progress);
  std::map<std::string, std::vector<const File*>> same;
  for (const File& file : files) {
    if (!file.problem.empty()) report.broken.push_back(file.problem);
    if (!file.hash.empty()) same[file.hash].push_back(&file);
    if (file.short_side == 0) continue;
    report.smallest_side =
        report.smallest_side == 0 ? file.short_side : std::min(report.smallest_side, file.short_side);
    report.largest_side = std::max(report.largest_side, file.long_side);
  }
  for (const auto& [hash, group] : same) {
    DuplicateGroup found;
    std::set<int> parts;
    std::set<std::int64_t> labels;
    int uses = 0;
    for (const File* file : group) {
      found.paths.push_back(file->path.generic_string());
      parts.insert(file->parts.begin(), file->parts.end());
      labels.insert(file->labels.begin(), file->labels.end());
      uses += file->uses;
    }
    found.across_parts = parts.size() > 1;
    found.across_classes = labels.size() > 1;
    if (uses > 1) report.duplicates.push_back(std::move(found));
  }
  std::sort(report.duplicates.begin(), report.duplicates.end(),
            [](const auto& a, const auto& b) { return a.paths < b.paths; });
  return report;
}

}  // namespace attune

#include "attune/data/dataset.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {

std::vector<Sample> samples_of(const Dataset& dataset, std::string_view part) {
  std::vector<Sample> found;
  const auto take = [&](std::string_view name, const std::vector<Sample>& samples) {
    if (part == name || part == "all") found.insert(found.end(), samples.begin(), samples.end());
  };
  if (part != "train" && part != "val" && part != "test" && part != "all") {
    throw UsageError(fmt::format("split: expected train, val, test or all, found \"{}\"", part));
  }
  take("train", dataset.train);
  take("val", dataset.val);
  take("test", dataset.test);
  take("all", dataset.all);
  if (found.empty()) {
    throw UsageError(fmt::format(
        "{}: expected pictures in the part \"{}\", found train {}, val {}, test {}, undivided {}", dataset.name, part,
        dataset.train.size(), dataset.val.size(), dataset.test.size(), dataset.all.size()));
  }
  return found;
}

Dataset keep_domains(Dataset dataset, const std::vector<std::string>& names) {
  std::vector<bool> kept(dataset.domains.size());
  for (const std::string& name : names) {
    const auto found = std::find(dataset.domains.begin(), dataset.domains.end(), name);
    if (found == dataset.domains.end()) {
      throw UsageError(fmt::format("domain: expected one of {}, found \"{}\"", fmt::join(dataset.domains, ", "), name));
    }
    kept[static_cast<std::size_t>(std::distance(dataset.domains.begin(), found))] = true;
  }
  for (auto* part : {&dataset.train, &dataset.val, &dataset.test, &dataset.all}) {
    std::erase_if(*part, [&](const Sample& sample) { return !kept[static_cast<std::size_t>(sample.domain)]; });
  }
  return dataset;
}

}  // namespace attune

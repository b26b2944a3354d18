#include "attune/cli/classify.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "attune/base/files.h"

namespace attune {
namespace {

std::string percent(double share) {
  return std::isnan(share) ? "-" : fmt::format("{:.1f}", 100 * share);
}

const Accuracy* find(const std::vector<NamedAccuracy>& list, const std::string& name) {
  const auto found = std::find_if(list.begin(), list.end(), [&](const NamedAccuracy& one) { return one.name == name; });
  return found == list.end() ? nullptr : &found->accuracy;
}

std::string floor_text(const Results& results, const std::string& domain, const std::string& group) {
  if (!results.floors) return "";
  const auto of_domain = results.floors->acc1.find(domain);
  if (of_domain == results.floors->acc1.end()) return "";
  const auto of_group = of_domain->second.find(group);
  return of_group == of_domain->second.end() ? "" : percent(of_group->second);
}

}  // namespace

void add_picture_options(CLI::App& verb, PictureOptions& options, const std::string& no_cache) {
  verb.add_flag("--skip-broken", options.skip_broken, "leave broken pictures out, with a warning, instead of stopping");
  verb.add_flag("--no-cache", options.no_cache, no_cache);
}

void add_domain_model(CLI::App& verb, std::string& place) {
  verb.add_option("--domain-model", place,
                  "where the domain model lies that the adapter was learned with, or file of its features (default: "
                  "where it lay then)");
}

InputOptions input_options(const Common& common, const PictureOptions& pictures, Progress* progress) {
  InputOptions options;
  if (!pictures.no_cache) options.cache = cache_folder() / "features";
  options.skip_broken = pictures.skip_broken;
  options.loader_threads = at::get_num_threads();
  options.seed = common.seed;
  options.progress = progress;
  return options;
}

Provenance provenance(const Common& common) {
  return {common.seed, version(), command_line()};
}

std::string summary_table(const Results& results) {
  const bool compared = results.zero_shot.has_value();
  const bool floored = results.floors.has_value();
  std::string table = fmt::format("{:<26}{:>9}", "", "pictures");
  if (floored) table += fmt::format("{:>9}", "floor");
  if (compared) table += fmt::format("{:>14}", "zero-shot");
  table += fmt::format("{:>14}\n", results.method);
  const auto line = [&](const std::string& name, const Accuracy& now, const Accuracy* before,
                        const std::string& floor) {
    table += fmt::format("{:<26}{:>9}", name, now.count);
    if (floored) table += fmt::format("{:>9}", floor);
    if (compared) table += fmt::format("{:>14}", before == nullptr ? "" : percent(before->acc1));
    table += fmt::format("{:>14}\n", percent(now.acc1));
  };
  for (std::size_t d = 0; d < results.measured.per_domain.size(); ++d) {
    const DomainAccuracy& domain = results.measured.per_domain[d];
    const DomainAccuracy* before = compared ? &results.zero_shot->per_domain[d] : nullptr;
    if (domain.groups.empty())
      line(domain.name, domain.accuracy, before ? &before->accuracy : nullptr, floor_text(results, domain.name, "all"));
    for (const NamedAccuracy& group : domain.groups) {
      if (group.accuracy.count == 0) continue;
      const std::string words = group.name == "held_out" ? "held-out concepts" : "seen concepts";
      line(domain.name + ", " + words, group.accuracy, before ? find(before->groups, group.name) : nullptr,
           floor_text(results, domain.name, group.name));
    }
  }
  const Accuracy all{results.measured.count, results.measured.metrics.acc1};
  const Accuracy before = compared ? Accuracy{results.zero_shot->count, results.zero_shot->metrics.acc1} : Accuracy{};
  line("all", all, compared ? &before : nullptr, floor_text(results, "all", "all"));
  return table;
}

}  // namespace attune

#include "attune/training/run_settings.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/methods/method_files.h"
#include "attune/methods/registry.h"
#include "attune/training/trainer.h"

namespace attune {
namespace {

bool divides_concepts(const Dataset& dataset) {
  return std::any_of(dataset.test.begin(), dataset.test.end(), [](const Sample& sample) { return sample.held_out; });
}

std::vector<Sample> tested_samples(const Dataset& dataset, const Dataset& drawn) {
  std::set<std::filesystem::path> used;
  for (const auto* part : {&drawn.train, &drawn.val}) {
    for (const Sample& sample : *part) used.insert(sample.path);
  }
  std::vector<Sample> tested;
  for (const Sample& sample : divides_concepts(dataset) ? samples_of(dataset, "all") : dataset.test) {
    if (!used.contains(sample.path)) tested.push_back(sample);
  }
  return tested;
}

Dataset of_classes(const Dataset& dataset, const std::string& classes) {
  if (classes == "all") return dataset;
  if (classes == "base") return take_half(dataset, ClassHalf::kBase);
  if (classes == "new") return take_half(dataset, ClassHalf::kNew);
  throw UsageError(fmt::format("classes: expected all, base or new, found \"{}\"", classes));
}

}  // namespace

Schema RunSettings::schema() {
  return {
      {"method", "coop", "the method; attune train --help lists them"},
      {"shots", 16, "training pictures a class; 0: all of them"},
      {"shots_per_domain", false, "count the shots in each domain instead of over all domains"},
      {"draw", "keyed", "how shots are drawn: keyed (nested, ours) or coop (CoOp's own for the same seed)"},
      {"classes", "all", "all, or the base or new half of them"},
      {"domains", "", "domains to train on, with commas between them; empty: all"},
  };
}

RunSettings::RunSettings(const Config& config)
    : method(config.text("method")),
      shots(static_cast<int>(config.integer("shots"))),
      draw(draw_rule_named(config.text("draw"))),
      shots_per_domain(config.flag("shots_per_domain")),
      classes(config.text("classes")),
      domains(split_list(config.text("domains"))) {
  if (shots < 0) throw UsageError(fmt::format("shots: expected at least 0, found {}", shots));
}

Config run_config(const ConfigSources& sources) {
  Config config(RunSettings::schema());
  MethodChoice choice;
  if (!sources.recipe.empty()) {
    // The recipe names the method, which says what keys there are: a first look at that one key only.
    const std::string where = sources.recipe.string();
    const Json recipe = parse_yaml(read_file(sources.recipe), where);
    if (recipe.is_object() && recipe.contains("method")) choice.name = json_at<std::string>(recipe, "method", where);
  }
  if (!sources.method.empty()) choice = parse_method(sources.method);
  if (!choice.name.empty()) config.set("method", Json(choice.name), "--method");
  config.extend(find_method(config.text("method")).schema);
  config.extend(TrainSettings::schema());
  if (!sources.recipe.empty()) {
    config.merge_yaml_file(sources.recipe);
    locate_files(config, sources.recipe.parent_path());
  }
  if (!choice.name.empty()) config.set("method", Json(choice.name), "--method");
  for (const std::string& one : choice.assignments) config.set(one, "--method");
  for (const std::string& one : sources.assignments) config.set(one, sources.assigned_by);
  locate_files(config, ".");
  return config;
}

void set_domain_model(Config& config, const std::string& place) {
  if (!config.has("domain.model")) {
    throw UsageError(
        fmt::format("--domain-model: expected a method that takes a domain model (dcpl, dplq, gdpl), found {}",
                    config.text("method")));
  }
  config.set("domain.model", Json(place), "--domain-model");
}

Json method_config(const Config& config) {
  Json own = Json::object();
  for (const Key& key : find_method(config.text("method")).schema) own[key.name] = config.value(key.name);
  return own;
}

RunData draw_run_data(const Dataset& dataset, const RunSettings& settings, std::uint64_t seed) {
  const Dataset parted = dataset.all.empty() ? dataset : divide(dataset, Division::kHalfTrain, seed);
  Dataset drawn = settings.domains.empty() ? parted : keep_domains(parted, settings.domains);
  if (settings.shots > 0) {
    drawn = draw_few_shot(drawn, {settings.shots, seed, settings.draw, settings.shots_per_domain});
  }
  // CoOp draws from all classes before it takes a half.
  drawn = of_classes(drawn, settings.classes);
  const Dataset measured = of_classes(parted, settings.classes);
  return {drawn, tested_samples(measured, drawn)};
}

RunData run_data_of_split(const Dataset& dataset, Dataset split) {
  std::vector<Sample> tested = split.test;
  split.root = dataset.root;
  return {std::move(split), std::move(tested)};
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> pieces;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::size_t first = text.find_first_not_of(' ', begin);
    if (first < end) pieces.push_back(text.substr(first, text.find_last_not_of(' ', end - 1) + 1 - first));
    begin = end + 1;
  }
  return pieces;
}

}  // namespace attune

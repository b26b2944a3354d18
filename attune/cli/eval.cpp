#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/cli/classify.h"
#include "attune/cli/verbs.h"
#include "attune/data/layouts.h"
#include "attune/data/splits.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/report.h"
#include "attune/methods/adapter.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

struct EvalOptions {
  Common common;
  PictureOptions pictures;
  std::string model, data, adapter, domain_model, split = "test", domains, templates = "single", classes = "all",
                                                  forgetting, out;
};

Dataset chosen_data(const std::string& name, const EvalOptions& options) {
  Dataset dataset = open_dataset(name);
  if (!options.domains.empty()) dataset = keep_domains(dataset, split_list(options.domains));
  if (options.classes == "all") return dataset;
  if (options.classes == "base") return take_half(dataset, ClassHalf::kBase);
  if (options.classes == "new") return take_half(dataset, ClassHalf::kNew);
  throw UsageError(fmt::format("--classes: expected all, base or new, found \"{}\"", options.classes));
}

/// The data set with only the classes that the adapter was not trained on, relabelled.
Dataset without_classes(const Dataset& dataset, const std::vector<std::string>& known) {
  Dataset others = dataset;
  others.classes.clear();
  std::vector<std::int64_t> labels(dataset.classes.size(), -1);
  for (std::size_t c = 0; c < dataset.classes.size(); ++c) {
    if (std::find(known.begin(), known.end(), dataset.classes[c]) != known.end()) continue;
    labels[c] = static_cast<std::int64_t>(others.classes.size());
    others.classes.push_back(dataset.classes[c]);
  }
  for (auto* part : {&others.train, &others.val, &others.test, &others.all}) {
    std::erase_if(*part, [&](const Sample& sample) { return labels[static_cast<std::size_t>(sample.label)] < 0; });
    for (Sample& sample : *part) sample.label = labels[static_cast<std::size_t>(sample.label)];
  }
  if (others.classes.empty()) {
    throw UsageError(
        fmt::format("--forgetting: expected classes outside the training set, found none in {}", dataset.name));
  }
  return others;
}

std::vector<Sample> part_or_all(const Dataset& dataset, const std::string& part) {
  return samples_of(dataset, dataset.all.empty() ? part : "all");
}

void run_eval(const EvalOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const Common& common = options.common;
  prepare(common);
  const auto model = open_model(common, options.model);
  const Dataset dataset = chosen_data(options.data, options);
  const auto progress = make_progress(common, "measuring");
  Inputs inputs(model, dataset, part_or_all(dataset, options.split),
                input_options(common, options.pictures, progress.get()));
  const ClassNames classes{dataset.classes, dataset.prompt_template};

  const Provenance from = provenance(common);
  const std::unique_ptr<Classifier> plain = zero_shot(model, classes, options.templates);
  Results results;
  if (options.adapter.empty()) {
    results = measure_classifier(*model, dataset, inputs, *plain, "zero_shot", from);
    results.config = {{"templates", options.templates}};
  } else {
    const AdapterInfo info = read_adapter_info(options.adapter);
    const std::unique_ptr<Classifier> learned = load_adapter(options.adapter, model, options.domain_model);
    learned->set_classes(classes);
    results = measure_classifier(*model, dataset, inputs, *learned, info.method, from);
    results.zero_shot = measure_classifier(*model, dataset, inputs, *plain, "zero_shot", from).measured;
    results.config = info.config;
    if (!options.forgetting.empty()) {
      const Dataset others = without_classes(open_dataset(options.forgetting), info.classes.names);
      Inputs other_inputs(model, others, part_or_all(others, options.split),
                          input_options(common, options.pictures, progress.get()));
      const ClassNames other_classes{others.classes, others.prompt_template};
      plain->set_classes(other_classes);
      learned->set_classes(other_classes);
      results.forgetting = measure_forgetting(*plain, *learned, other_inputs, others);
    }
  }
  results.split = {dataset.all.empty() ? options.split : "all", dataset.layout, split_hash(dataset)};
  results.floors = pixel_floors(dataset, {}, inputs.samples());
  results.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!options.out.empty()) {
    const std::filesystem::path folder = options.out;
    write_results(folder / "results.json", {results});
    write_report(std::vector{folder}, folder / "report.html");
    say(common, fmt::format("report: {}", (folder / "report.html").string()));
  }
  if (common.json) {
    print_json(to_json(results));
    return;
  }
  const Metrics& metrics = results.measured.metrics;
  say(common, fmt::format("{} on {} ({}), accuracy in percent\n{}", results.method, dataset.name, results.split.part,
                          summary_table(results)));
  say(common,
      fmt::format("top-1 {:.2f}  top-5 {:.2f}  mean per class {:.2f}  calibration error {:.2f}", 100 * metrics.acc1,
                  100 * metrics.acc5, 100 * metrics.mean_per_class_recall, 100 * metrics.ece));
  if (results.forgetting) {
    say(common,
        fmt::format(
            "forgetting: on {} classes outside the training set, {:.2f} by zero-shot and {:.2f} with the adapter",
            results.forgetting->classes.size(), 100 * results.forgetting->before, 100 * results.forgetting->after));
  }
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* verb = app.add_subcommand("eval", "Measures an adapter, or zero-shot, on any data set");
  verb->add_option("--model", options->model, "model folder, hf-hub:ORGANISATION/NAME, or pocket")->required();
  verb->add_option("--data", options->data, "data set: a folder, a list file, or emoji-dg")->required();
  verb->add_option("--adapter", options->adapter, "folder of an adapter; without one: zero-shot");
  add_domain_model(*verb, options->domain_model);
  verb->add_option("--split", options->split, "train, val, test or all; data without parts are measured whole")
      ->capture_default_str();
  verb->add_option("--domain", options->domains, "domains to measure, with commas between them");
  verb->add_option("--classes", options->classes, "all, base or new")->capture_default_str();
  verb->add_option("--templates", options->templates, "of zero-shot: single, best7, all80, or a template with {}")
      ->capture_default_str();
  verb->add_option("--forgetting", options->forgetting,
                   "data set on whose classes outside the training set zero-shot and adapter are compared");
  verb->add_option("--out", options->out, "folder for results.json and report.html");
  add_picture_options(*verb, options->pictures);
  add_common(*verb, options->common);
  verb->callback([options] { run_eval(*options); });
}

}  // namespace attune

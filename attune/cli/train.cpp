#include <chrono>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/cli/checks.h"
#include "attune/cli/classify.h"
#include "attune/cli/detect.h"
#include "attune/cli/personalise.h"
#include "attune/cli/verbs.h"
#include "attune/data/layouts.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/report.h"
#include "attune/methods/registry.h"
#include "attune/training/run_files.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

struct TrainOptions {
  Common common;
  PictureOptions pictures;
  std::string model, data, method, recipe, domain_model, domains, init, order, out, draw, classes,
      task = "classification";
  int shots = -1;
  std::vector<std::string> assignments;
  bool resume = false, no_augment = false, dry_run = false, no_test = false;
};

/// The configuration of a run: that of its sources, then the options that have a name of their own.
Config config_of(const TrainOptions& options) {
  Config config = run_config({options.recipe, options.method, options.assignments});
  if (options.shots >= 0) config.set("shots", Json(options.shots), "--shots");
  if (!options.domains.empty()) config.set("domains", Json(options.domains), "--domain");
  if (!options.draw.empty()) config.set("draw", Json(options.draw), "--draw");
  if (!options.classes.empty()) config.set("classes", Json(options.classes), "--classes");
  if (!options.domain_model.empty()) set_domain_model(config, options.domain_model);
  if (options.no_augment) config.set("views.kind", Json("centre"), "--no-augment");
  return config;
}

std::filesystem::path split_file(const TrainOptions& options) {
  return std::filesystem::path(options.out) / "split.json";
}

/// Draws the split, or reads the one that a resumed run began with.
RunData run_data(const TrainOptions& options, const Dataset& dataset, const RunSettings& settings) {
  if (options.resume && std::filesystem::exists(split_file(options)))
    return run_data_of_split(dataset, load_split(split_file(options), dataset.root));
  RunData data = draw_run_data(dataset, settings, options.common.seed);
  for (const std::string& note : data.training.notes) log_warning(note);
  data.training.test = data.tested;
  return data;
}

/// What is learned: of the data all but the tested pictures.
LearningTask learning_task(const TrainOptions& options, const Config& config, const RunData& data, Progress* progress) {
  LearningTask task;
  task.folder = options.out;
  task.config = config;
  task.data = data.training;
  task.data.test.clear();
  task.data.all.clear();
  task.split = split_hash(data.training);
  task.seed = options.common.seed;
  task.resume = options.resume;
  task.inputs = input_options(options.common, options.pictures, progress);
  if (options.dry_run) task.inputs.skip_broken = false;  // to find them is work, which leaves features in the cache
  task.init = options.init;
  task.order = options.order;
  task.progress = progress;
  task.version = version();
  return task;
}

Results measure(const TrainOptions& options, const RunSettings& settings, const Dataset& dataset, const RunData& data,
                const std::shared_ptr<const ClipModel>& model, Inputs& tested, Classifier& classifier) {
  const Provenance from = provenance(options.common);
  Results results = measure_classifier(*model, data.training, tested, classifier, settings.method, from);
  const auto before = zero_shot(model, {data.training.classes, dataset.prompt_template});
  results.zero_shot = measure_classifier(*model, data.training, tested, *before, "zero_shot", from).measured;
  results.floors = pixel_floors(dataset, settings.domains, tested.samples());
  results.split = {"test", std::string(name_of(settings.draw)), split_hash(data.training)};
  results.source_domains = settings.domains;
  return results;
}

Json metrics_of(const Results& results) {
  const Metrics& metrics = results.measured.metrics;
  return {{"acc1", metrics.acc1},
          {"acc5", metrics.acc5},
          {"mean_per_class_recall", metrics.mean_per_class_recall},
          {"ece", metrics.ece}};
}

void run_train(const TrainOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const Common& common = options.common;
  prepare(common);
  const Config config = config_of(options);
  const RunSettings settings(config);
  refuse_a_used_folder(options.out, options.resume);

  const Dataset dataset = open_dataset(options.data);
  const auto model = open_model(common, options.model);
  const RunData data = run_data(options, dataset, settings);
  const auto progress = make_progress(common, "training");
  const LearningTask task = learning_task(options, config, data, progress.get());
  Learning learning(model, task);
  Inputs tested(model, data.training, data.tested, task.inputs);

  say(common, fmt::format("{} on {} ({}): {} classes, {} training, {} validation, {} test pictures", settings.method,
                          dataset.name, dataset.layout, data.training.classes.size(), learning.training_size(),
                          learning.validation_size(), tested.size()));
  say(common, fmt::format("configuration:\n{}", config.to_yaml()));
  if (config.has("domain.model") && config.text("domain.model").empty())
    say(common, "without --domain-model: the base model's own image features stand for a domain model's");
  say(common, describe(learning.estimate()));
  if (options.dry_run) return;

  save_split(split_file(options), data.training, {std::string(name_of(settings.draw)), common.seed, settings.shots});
  learning.learn();
  if (options.no_test || tested.size() == 0) {
    learning.save();
    return say_not_measured(common, options.no_test, task.folder);
  }
  Results results = measure(options, settings, dataset, data, model, tested, learning.classifier());
  results.config = config.to_json();
  results.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  learning.save(metrics_of(results));
  write_results(task.folder / "results.json", {results});
  write_report(std::vector{task.folder}, task.folder / "report.html");
  if (common.json) print_json(to_json(results));
  say(common, fmt::format("\nAccuracy in percent\n{}\nadapter: {}\nreport:  {}", summary_table(results),
                          (task.folder / "adapter").string(), (task.folder / "report.html").string()));
}

/// Options that mean nothing to a search on a frozen task are refused rather than passed over.
void refuse_others(const TrainOptions& options) {
  const std::pair<const char*, bool> others[] = {
      {"--domain", !options.domains.empty()},   {"--domain-model", !options.domain_model.empty()},
      {"--draw", !options.draw.empty()},        {"--classes", !options.classes.empty()},
      {"--init", !options.init.empty()},        {"--order", !options.order.empty()},
      {"--no-augment", options.no_augment},     {"--skip-broken", options.pictures.skip_broken},
      {"--no-cache", options.pictures.no_cache}};
  for (const auto& [name, given] : others) {
    if (given) throw UsageError(fmt::format("{}: not an option of --task {}", name, options.task));
  }
}

GenerationTraining generation_training(const TrainOptions& options) {
  refuse_others(options);
  if (options.shots >= 0) throw UsageError("--shots: not an option of --task generation, which learns every picture");
  return {options.common, options.model,       options.data,   options.method,  options.recipe,
          options.out,    options.assignments, options.resume, options.dry_run, options.no_test};
}

DetectionTraining detection_training(const TrainOptions& options) {
  refuse_others(options);
  return {options.common, options.model,       options.data,   options.method,  options.recipe, options.out,
          options.shots,  options.assignments, options.resume, options.dry_run, options.no_test};
}

std::string method_help() {
  std::string text = "Methods:\n";
  for (const Method& method : methods()) {
    text += fmt::format("  {:<12} {}\n", method.name, method.meaning);
    for (const Key& key : method.schema)
      text += fmt::format("    {} = {}: {}\n", key.name, key.otherwise.dump(), key.meaning);
  }
  return text;
}

}  // namespace

void add_train(CLI::App& app) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* verb = app.add_subcommand("train", "Learns an adapter from a few pictures a class");
  verb->add_option("--model", options->model, "model folder, hf-hub:ORGANISATION/NAME, or pocket")->required();
  verb->add_option("--data", options->data, "data set: a folder, a list file, or emoji-dg")->required();
  verb->add_option("--task", options->task,
                   "classification; with --method cones detection (on a detector) or segmentation (on a segmenter); "
                   "generation (with cones, textual_inversion or dreambooth, on a diffusion model)")
      ->check(among({"classification", "detection", "segmentation", "generation"}))
      ->capture_default_str();
  verb->add_option("--method", options->method, "NAME or NAME:key=value,...");
  verb->add_option("--recipe", options->recipe, "YAML file with configuration keys")->check(CLI::ExistingFile);
  verb->add_option("--set", options->assignments, "key=value, over the recipe; may be repeated")
      ->allow_extra_args(false);
  verb->add_option("--shots", options->shots, "training pictures a class; 0: all (default: 16)")
      ->check(at_least(0))
      ->take_last();
  verb->add_option("--domain", options->domains, "domains to train on, with commas between them");
  verb->add_option("--domain-model", options->domain_model,
                   "of DCPL, DPLQ and GDPL: folder of a model of the domain, or file of its features");
  verb->add_option("--draw", options->draw, "keyed, or coop for CoOp's own draws");
  verb->add_option("--classes", options->classes, "all, base or new");
  verb->add_option("--init", options->init, "safetensors file with the learnable tensors at the start")
      ->check(CLI::ExistingFile);
  verb->add_option("--order", options->order, "JSON-lines file that fixes the batches")->check(CLI::ExistingFile);
  verb->add_flag("--no-augment", options->no_augment, "only the centre view of every picture");
  verb->add_flag("--resume", options->resume, "continue the run in --out where it stopped");
  verb->add_flag("--dry-run", options->dry_run, "say what would be done and what it needs; writes nothing");
  verb->add_flag("--no-test", options->no_test, "learn only; measure later with attune eval");
  verb->add_option("--out", options->out, "folder of the run")->required();
  add_picture_options(*verb, options->pictures);
  add_common(*verb, options->common);
  verb->footer(method_help);
  verb->callback([options] {
    if (options->task == "generation") return train_generation(generation_training(*options));
    if (options->task == "detection") return train_detection(detection_training(*options));
    if (options->task == "segmentation") return train_segmentation(detection_training(*options));
    run_train(*options);
  });
}

}  // namespace attune

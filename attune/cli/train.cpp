#include <chrono>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/classify.h"
#include "attune/cli/verbs.h"
#include "attune/data/layouts.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/report.h"
#include "attune/training/estimate.h"
#include "attune/training/run_settings.h"
#include "attune/training/stopped.h"
#include "attune/training/trainer.h"

namespace attune {
namespace {

struct TrainOptions {
  Common common;
  PictureOptions pictures;
  std::string model, data, method, recipe, domains, init, order, out, draw, classes;
  int shots = -1;
  std::vector<std::string> assignments;
  bool resume = false, no_augment = false, dry_run = false, no_test = false;
};

/// The configuration of a run: defaults, then the recipe, then --set, then the options that have a name of their own.
Config run_config(const TrainOptions& options) {
  Config config(RunSettings::schema());
  MethodChoice choice;
  if (!options.recipe.empty()) {
    // The recipe names the method, which says what keys there are: a first look at that one key only.
    const Json recipe = parse_yaml(read_file(options.recipe), options.recipe);
    if (recipe.is_object() && recipe.contains("method"))
      choice.name = json_at<std::string>(recipe, "method", options.recipe);
  }
  if (!options.method.empty()) choice = parse_method(options.method);
  if (!choice.name.empty()) config.set("method", Json(choice.name), "--method");
  config.extend(find_method(config.text("method")).schema);
  config.extend(TrainSettings::schema());
  if (!options.recipe.empty()) config.merge_yaml_file(options.recipe);
  if (!choice.name.empty()) config.set("method", Json(choice.name), "--method");
  for (const std::string& one : choice.assignments) config.set(one, "--method");
  for (const std::string& one : options.assignments) config.set(one, "--set");
  if (options.shots >= 0) config.set("shots", Json(options.shots), "--shots");
  if (!options.domains.empty()) config.set("domains", Json(options.domains), "--domain");
  if (!options.draw.empty()) config.set("draw", Json(options.draw), "--draw");
  if (!options.classes.empty()) config.set("classes", Json(options.classes), "--classes");
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

/// The part of the configuration that belongs to the method, for its adapter.
Json method_config(const Config& config, const Method& method) {
  Json own = Json::object();
  for (const Key& key : method.schema) own[key.name] = config.value(key.name);
  return own;
}

void refuse_a_used_folder(const TrainOptions& options) {
  const std::filesystem::path checkpoint = std::filesystem::path(options.out) / "checkpoints" / "last.safetensors";
  if (!options.resume && std::filesystem::exists(checkpoint)) {
    throw UsageError(
        fmt::format("--out: {} already holds a run; continue it with --resume, or name another folder", options.out));
  }
}

void run_train(const TrainOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const Common& common = options.common;
  prepare(common);
  const Config config = run_config(options);
  const RunSettings settings(config);
  const TrainSettings train_settings(config);
  refuse_a_used_folder(options);

  const Dataset dataset = open_dataset(options.data);
  const auto model = open_model(common, options.model);
  RunData data = run_data(options, dataset, settings);
  const ClassNames classes{data.training.classes, dataset.prompt_template};
  const Method& method = find_method(settings.method);
  const std::unique_ptr<Classifier> classifier = method.make(model, classes, config, common.seed);
  if (!options.init.empty()) classifier->load_state(load_tensors(options.init));

  const auto progress = make_progress(common, "training");
  InputOptions inputs = input_options(common, options.pictures, progress.get());
  inputs.augmentation = train_settings.views.augmentation;
  if (options.dry_run) inputs.skip_broken = false;  // to find them is work, which leaves features in the cache
  Inputs training(model, data.training, data.training.train, inputs);
  Inputs validation(model, data.training, data.training.val, inputs);
  Inputs tested(model, data.training, data.tested, inputs);

  TrainRun run;
  run.folder = options.out;
  run.resume = options.resume;
  run.seed = common.seed;
  run.progress = progress.get();
  if (!options.order.empty()) run.order = read_order(options.order, training.size());

  say(common, fmt::format("{} on {} ({}): {} classes, {} training, {} validation, {} test pictures", settings.method,
                          dataset.name, dataset.layout, classes.names.size(), training.size(), validation.size(),
                          tested.size()));
  say(common, fmt::format("configuration:\n{}", config.to_yaml()));
  const Stages stages = classifier->stages(training_data(training, &validation, common.seed));
  say(common, describe(estimate_training(*model, classes, stages, training.size(), train_settings.views)));
  if (options.dry_run) return;

  const std::string split = split_hash(data.training);
  run.fingerprint = sha256(config.to_yaml() + split + model->weight_hash() + std::to_string(common.seed) +
                           (options.init.empty() ? "" : sha256_of_file(options.init)) +
                           (options.order.empty() ? "" : sha256_of_file(options.order)));
  save_split(split_file(options), data.training, {std::string(name_of(settings.draw)), common.seed, settings.shots});
  write_file(run.folder / "config.yaml", config.to_yaml());

  Inputs* selection = validation.size() > 0 ? &validation : nullptr;
  if (train(*classifier, stages, training, selection, train_settings, run) == TrainOutcome::kStopped) {
    throw Stopped{fmt::format("continue with the same command and --resume (folder {})", options.out)};
  }

  AdapterInfo adapter{method.name,
                      method_config(config, method),
                      model->config.name,
                      model->weight_hash(),
                      classes,
                      dataset.name,
                      split,
                      common.seed,
                      nullptr,
                      version()};
  std::vector<Results> all;
  if (!options.no_test && tested.size() > 0) {
    Results results = measure_classifier(common, *model, data.training, tested, *classifier, settings.method);
    const auto before = zero_shot(model, classes);
    results.zero_shot = measure_classifier(common, *model, data.training, tested, *before, "zero_shot").measured;
    results.floors = pixel_floors(dataset, settings.domains, tested.samples());
    results.split = {"test", std::string(name_of(settings.draw)), split};
    results.config = config.to_json();
    results.command = command_line();
    results.source_domains = settings.domains;
    results.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const Metrics& metrics = results.measured.metrics;
    adapter.metrics = {{"acc1", metrics.acc1},
                       {"acc5", metrics.acc5},
                       {"mean_per_class_recall", metrics.mean_per_class_recall},
                       {"ece", metrics.ece}};
    all.push_back(std::move(results));
  }
  save_adapter(run.folder / "adapter", adapter, *classifier);
  if (all.empty()) return;
  write_results(run.folder / "results.json", all);
  write_report(std::vector{run.folder}, run.folder / "report.html");
  if (common.json) print_json(to_json(all.front()));
  say(common, fmt::format("\nAccuracy in percent\n{}\nadapter: {}\nreport:  {}", summary_table(all.front()),
                          (run.folder / "adapter").string(), (run.folder / "report.html").string()));
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
  verb->add_option("--model", options->model, "model folder, or pocket")->required();
  verb->add_option("--data", options->data, "data set: a folder, a list file, or emoji-dg")->required();
  verb->add_option("--method", options->method, "NAME or NAME:key=value,...");
  verb->add_option("--recipe", options->recipe, "YAML file with configuration keys")->check(CLI::ExistingFile);
  verb->add_option("--set", options->assignments, "key=value, over the recipe; may be repeated")
      ->allow_extra_args(false);
  verb->add_option("--shots", options->shots, "training pictures a class; 0: all (default: 16)")
      ->check(CLI::NonNegativeNumber)
      ->take_last();
  verb->add_option("--domain", options->domains, "domains to train on, with commas between them");
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
  verb->callback([options] { run_train(*options); });
}

}  // namespace attune

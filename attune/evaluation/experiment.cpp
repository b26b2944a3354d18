#include "attune/evaluation/experiment.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/evaluation/evaluate.h"
#include "attune/methods/adapter.h"
#include "attune/methods/method_files.h"
#include "attune/training/run_settings.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

constexpr std::size_t kExamples = 32;

LearningTask checked(LearningTask task) {
  if (!task.data.test.empty() || !task.data.all.empty()) {
    throw Error(fmt::format("{}: expected a training and a validation part to learn from, found test {}, undivided {}",
                            task.data.name, task.data.test.size(), task.data.all.size()));
  }
  task.inputs.augmentation = TrainSettings(task.config).views.augmentation;
  return task;
}

std::unique_ptr<Classifier> made(const std::shared_ptr<const ClipModel>& model, const LearningTask& task,
                                 const ClassNames& classes) {
  const Method& method = find_method(task.config.text("method"));
  std::unique_ptr<Classifier> classifier = method.make(model, classes, task.config, task.seed);
  if (!task.init.empty()) classifier->load_state(load_tensors(task.init));
  return classifier;
}

}  // namespace

std::string fingerprint_of(const ClipModel& model, const LearningTask& task) {
  return sha256(with_file_contents(task.config, model.hashes).to_yaml() + task.split + model.weight_hash() +
                std::to_string(task.seed) + (task.init.empty() ? "" : sha256_of_file(task.init)) +
                (task.order.empty() ? "" : sha256_of_file(task.order)));
}

Learning::Learning(std::shared_ptr<const ClipModel> model, LearningTask task)
    : model_(std::move(model)),
      task_(checked(std::move(task))),
      settings_(task_.config),
      classes_{task_.data.classes, task_.data.prompt_template},
      classifier_(made(model_, task_, classes_)),
      training_(model_, task_.data, task_.data.train, task_.inputs),
      validation_(model_, task_.data, task_.data.val, task_.inputs) {
  run_.folder = task_.folder;
  run_.resume = task_.resume;
  run_.seed = task_.seed;
  run_.progress = task_.progress;
  if (!task_.order.empty()) run_.order = read_order(task_.order, training_.size());
  stages_ = classifier_->stages(training_data(training_, &validation_, task_.seed));
}

Estimate Learning::estimate() const {
  const auto samples = [&](std::int64_t domain) {
    const auto& all = training_.samples();
    return domain < 0 ? std::ssize(all)
                      : std::count_if(all.begin(), all.end(), [&](const Sample& one) { return one.domain == domain; });
  };
  return estimate_training(*model_, classes_, classifier_->needs(), stages_, samples, settings_.views);
}

void Learning::learn() {
  run_.fingerprint = fingerprint_of(*model_, task_);
  write_file(run_.folder / "config.yaml", task_.config.to_yaml());
  Inputs* selection = validation_.size() > 0 ? &validation_ : nullptr;
  if (train(*classifier_, stages_, training_, selection, settings_, run_) == TrainOutcome::kStopped)
    throw Stopped{fmt::format("continue with the same command and --resume (folder {})", run_.folder.string())};
}

void Learning::save(const Json& metrics) const {
  const AdapterInfo info{task_.config.text("method"),
                         method_config(task_.config),
                         model_->config.name,
                         model_->weight_hash(),
                         classes_,
                         task_.data.name,
                         task_.split,
                         task_.seed,
                         metrics,
                         task_.version};
  save_adapter(run_.folder / "adapter", info, *classifier_);
}

std::unique_ptr<Classifier> zero_shot(std::shared_ptr<const ClipModel> model, const ClassNames& classes,
                                      const std::string& templates) {
  const Method& method = find_method("zero_shot");
  Config config(method.schema);
  config.set("templates", Json(templates), "--templates");
  return method.make(std::move(model), classes, config, 0);
}

Results measure_classifier(const ClipModel& model, const Dataset& dataset, Inputs& inputs, Classifier& classifier,
                           const std::string& method, const Provenance& provenance) {
  const Tensor scores = scores_of(classifier, inputs);
  Results results;
  results.dataset = dataset.name;
  results.model = model.config.name;
  results.pretrained = model.weight_hash();
  results.method = method;
  results.seed = static_cast<std::int64_t>(provenance.seed);
  results.version = provenance.version;
  results.command = provenance.command;
  results.classes = dataset.classes;
  if (dataset.domains.size() > 1) results.domains = dataset.domains;
  results.measured = measure_samples(scores, inputs.samples(), dataset);
  results.examples = example_answers(scores, inputs.samples(), dataset, kExamples, provenance.seed);
  results.peak_memory_mb = peak_memory_mb();
  return results;
}

}  // namespace attune

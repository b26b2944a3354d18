#include "attune/evaluation/study.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/study_confusion.h"
#include "attune/evaluation/study_table.h"
#include "attune/evaluation/study_words.h"
#include "attune/methods/registry.h"
#include "attune/training/checkpoint.h"
#include "attune/training/run_settings.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

/// How far a study is: finished runs, and where the ones at work stand.
class StudyProgress {
 public:
  StudyProgress(Progress* shown, std::int64_t done, std::int64_t total) : shown_(shown), done_(done), total_(total) {}
  ~StudyProgress() {
    if (shown_ != nullptr) shown_->finish();
  }

  void at_work(const std::string& note) {
    const std::lock_guard lock(mutex_);
    if (shown_ != nullptr) shown_->update(done_, total_, note);
  }
  void finished(const std::string& name) {
    const std::lock_guard lock(mutex_);
    ++done_;
    if (shown_ != nullptr) shown_->update(done_, total_, name);
  }

 private:
  std::mutex mutex_;
  Progress* shown_;
  std::int64_t done_, total_;
};

/// The progress of one run, as a note beside that of the study.
class RunProgress final : public Progress {
 public:
  RunProgress(StudyProgress& study, std::string name) : study_(study), name_(std::move(name)) {}
  void update(std::int64_t done, std::int64_t total, std::string_view note) override {
    study_.at_work(fmt::format("{} {}/{} {}", name_, done, total, note));
  }

 private:
  StudyProgress& study_;
  std::string name_;
};

/// Calls work(0) ... work(count - 1), `jobs` of them at a time, each on one thread where there are several.
void side_by_side(int jobs, std::size_t count, const std::function<void(std::size_t)>& work) {
  if (jobs <= 1) {
    for (std::size_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (int j = 0; j < jobs; ++j) {
    threads.emplace_back([&] {
      at::set_num_threads(1);
      for (std::size_t i = next++; i < count; i = next++) work(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

bool names_agree(const Dataset& a, const Dataset& b) {
  return a.classes == b.classes;
}

double floor_of(const Floors& floors, const Dataset& data, const std::string& group) {
  for (const Sample& sample : data.test) {
    const auto domain = floors.acc1.find(data.domains[static_cast<std::size_t>(sample.domain)]);
    if (domain == floors.acc1.end()) continue;
    const auto found = domain->second.find(group);
    if (found != domain->second.end()) return found->second;
  }
  return -1;
}

bool one_domain(const Dataset& data) {
  return std::all_of(data.test.begin(), data.test.end(),
                     [&](const Sample& sample) { return sample.domain == data.test.front().domain; });
}

StudyScore score_of(const TestSet& test, const Results& results) {
  StudyScore score;
  score.test = test.name;
  score.column = test.column;
  score.role = test.role;
  score.dataset = test.data.name;
  score.count = results.measured.count;
  score.metrics = results.measured.metrics;
  score.groups = results.measured.groups;
  std::erase_if(score.groups, [](const NamedAccuracy& group) { return group.accuracy.count == 0; });
  score.reliability = results.measured.reliability;
  if (results.zero_shot) score.zero_shot = results.zero_shot->metrics.acc1;
  // A floor belongs to one domain; over several there is none.
  if (results.floors && one_domain(test.data)) {
    for (const NamedAccuracy& group : score.groups) {
      const double floor = floor_of(*results.floors, test.data, group.name);
      if (floor >= 0) score.floors[group.name] = floor;
    }
  }
  return score;
}

}  // namespace

/// A test set as all runs share it. Its lock is held while somebody measures on it.
struct Study::Tested {
  std::mutex mutex;
  std::unique_ptr<Inputs> inputs;
  std::optional<Measurement> zero_shot;
  std::map<std::vector<std::string>, std::optional<Floors>> floors;  // by source domains
};

std::vector<MethodName> names_of(const std::vector<StudyMethod>& methods) {
  std::vector<MethodName> names;
  for (const StudyMethod& method : methods) names.push_back({method.label, method.name() != "zero_shot"});
  return names;
}

Study::Study(std::shared_ptr<const ClipModel> model, const std::vector<Dataset>& datasets, StudyPlan plan,
             std::vector<StudyMethod> methods, StudyOptions options)
    : model_(std::move(model)),
      datasets_(datasets),
      plan_(std::move(plan)),
      methods_(std::move(methods)),
      options_(std::move(options)) {
  model_->weight_hash();  // computed once, before there are several threads
  for (const TestSet& test : plan_.tests) {
    auto& tested = tested_[test.hash];
    if (!tested) tested = std::make_unique<Tested>();
  }
  check_vocabularies();
  look_at_folders();
}

Study::~Study() = default;

bool Study::learns(const PlannedRun& run) const {
  return names_of({methods_[run.method]})[0].learns;
}

LearningTask Study::task_of(const PlannedRun& run) const {
  const TrainingSet& training = plan_.trainings[run.training];
  LearningTask task;
  task.folder = folder_of(run);
  task.config = methods_[run.method].config;
  const std::string by = "study";
  // What learns nothing depends on no draw, so it stays finished when a study grows.
  const bool learned = learns(run);
  task.config.set("shots", Json(learned ? training.shots : 0), by);
  task.config.set("shots_per_domain", Json(generalises_domains(plan_.design.protocol)), by);
  task.config.set("draw", Json(name_of(plan_.design.draw)), by);
  task.config.set("classes", Json(training.classes), by);
  task.config.set("domains", Json(fmt::format("{}", fmt::join(training.sources, ","))), by);
  task.data = training.data;
  task.split = learned ? training.hash : "";
  task.seed = run.seed;
  task.resume = true;
  task.inputs = options_.inputs;
  task.inputs.seed = run.seed;
  task.inputs.progress = nullptr;
  if (options_.jobs > 1) task.inputs.loader_threads = 1;
  task.version = options_.from.version;
  return task;
}

std::string Study::fingerprint_of_run(const PlannedRun& run) const {
  std::string tests;
  for (const std::size_t test : run.tests) tests += plan_.tests[test].name + plan_.tests[test].hash;
  return sha256(fingerprint_of(*model_, task_of(run)) + tests);
}

void Study::check_vocabularies() const {
  std::set<std::size_t> seen;
  for (const PlannedRun& run : plan_.runs) {
    if (!seen.insert(run.method).second) continue;
    const Dataset& training = plan_.trainings[run.training].data;
    const StudyMethod& method = methods_[run.method];
    const auto classifier =
        find_method(method.name()).make(model_, {training.classes, training.prompt_template}, method.config, run.seed);
    if (classifier->open_vocabulary()) continue;
    for (const std::size_t test : run.tests) {
      if (names_agree(training, plan_.tests[test].data)) continue;
      throw UsageError(fmt::format(
          "{}: {} asks for class names that were not there in training ({}: {}), but {} as it is set here "
          "learns something for each class of its own and can name no others",
          method.label, name_of(plan_.design.protocol), plan_.tests[test].name, plan_.tests[test].rule, method.name()));
    }
  }
}

void Study::look_at_folders() {
  for (const PlannedRun& run : plan_.runs) {
    const std::filesystem::path results = folder_of(run) / "results.json";
    const std::filesystem::path checkpoint = folder_of(run) / "checkpoints" / "last.safetensors";
    const bool done = std::filesystem::exists(results);
    bool same = true;
    if (done) {
      for (const Results& one : read_results(results)) same = same && one.fingerprint == fingerprint_of_run(run);
    } else if (std::filesystem::exists(checkpoint)) {
      same = load_checkpoint(checkpoint).fingerprint == fingerprint_of(*model_, task_of(run));
    }
    if (!same) {
      throw UsageError(
          fmt::format("--out: {} holds a run with other settings, data or model; use another folder, or another label "
                      "for the method",
                      folder_of(run).string()));
    }
    finished_.push_back(done);
  }
}

StudyOutlook Study::outlook() const {
  StudyOutlook outlook;
  outlook.runs = static_cast<std::int64_t>(plan_.runs.size());
  std::map<std::tuple<std::size_t, int, std::size_t>, Estimate> known;  // by method, shots and number of classes
  std::map<std::size_t, double> features;                               // by training set
  for (std::size_t r = 0; r < plan_.runs.size(); ++r) {
    const PlannedRun& run = plan_.runs[r];
    if (finished_[r]) {
      ++outlook.finished;
      continue;
    }
    const TrainingSet& training = plan_.trainings[run.training];
    const std::tuple key{run.method, training.shots, training.data.classes.size()};
    if (!known.contains(key)) {
      LearningTask task = task_of(run);
      task.inputs.skip_broken = false;  // to find them is work
      known[key] = Learning(model_, std::move(task)).estimate();
    }
    outlook.model_mb = known[key].model_mb;
    outlook.training_seconds += known[key].training_seconds;
    features[run.training] = std::max(features[run.training], known[key].feature_seconds);
  }
  for (const auto& [training, seconds] : features) outlook.feature_seconds += seconds;
  return outlook;
}

Results Study::measure(const PlannedRun& run, const TestSet& test, Classifier& classifier) {
  Tested& tested = *tested_.at(test.hash);
  const std::lock_guard lock(tested.mutex);
  Provenance from = options_.from;
  from.seed = run.seed;
  const ClassNames classes{test.data.classes, test.data.prompt_template};
  if (!tested.inputs) {
    InputOptions options = options_.inputs;
    options.progress = nullptr;
    if (options_.jobs > 1) options.loader_threads = 1;
    tested.inputs = std::make_unique<Inputs>(model_, test.data, test.data.test, options);
    const auto plain = zero_shot(model_, classes);
    tested.zero_shot = measure_classifier(*model_, test.data, *tested.inputs, *plain, "zero_shot", from).measured;
    tested.zero_shot->confusion.clear();
  }
  if (classifier.open_vocabulary()) classifier.set_classes(classes);
  Results results =
      measure_classifier(*model_, test.data, *tested.inputs, classifier, methods_[run.method].name(), from);
  results.zero_shot = tested.zero_shot;
  const std::vector<std::string>& sources = plan_.trainings[run.training].sources;
  const Dataset& dataset = datasets_[test.dataset];
  if (names_agree(dataset, test.data) && plan_.design.protocol != Protocol::kCrossDataset &&
      plan_.design.protocol != Protocol::kDgCross) {
    if (!tested.floors.contains(sources))
      tested.floors[sources] = pixel_floors(dataset, sources, tested.inputs->samples());
    results.floors = tested.floors[sources];
  }
  results.split = {test.name, test.rule, test.hash};
  results.source_domains = sources;
  return results;
}

StudyRun Study::do_run(const PlannedRun& run, Progress* progress) {
  const auto begin = std::chrono::steady_clock::now();
  LearningTask task = task_of(run);
  task.progress = progress;
  const TrainingSet& training = plan_.trainings[run.training];
  Learning learning(model_, task);
  if (learns(run)) {
    save_split(task.folder / "split.json", training.data,
               {std::string(name_of(plan_.design.draw)), run.seed, training.shots});
  }
  learning.learn();
  learning.save();
  std::vector<Results> all;
  const std::string fingerprint = fingerprint_of_run(run);
  for (const std::size_t test : run.tests) {
    all.push_back(measure(run, plan_.tests[test], learning.classifier()));
    all.back().fingerprint = fingerprint;
    all.back().config = task.config.to_json();
    all.back().seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  write_results(task.folder / "results.json", all);
  return record_of(run, all);
}

StudyRun Study::record_of(const PlannedRun& run, const std::vector<Results>& results) const {
  const TrainingSet& training = plan_.trainings[run.training];
  StudyRun record;
  record.name = run.name;
  record.method = methods_[run.method].label;
  record.training = training.name;
  record.sources = training.sources;
  record.seed = run.seed;
  if (learns(run)) {
    record.shots = training.shots;
    record.split = training.hash;
    record.training_pictures = static_cast<std::int64_t>(training.data.train.size());
    record.validation_pictures = static_cast<std::int64_t>(training.data.val.size());
  }
  for (std::size_t t = 0; t < results.size(); ++t) {
    record.scores.push_back(score_of(plan_.tests[run.tests[t]], results[t]));
    record.seconds = std::max(record.seconds, results[t].seconds);
  }
  return record;
}

StudyRecord Study::record_of(std::vector<StudyRun> runs) const {
  StudyRecord study;
  study.protocol = name_of(plan_.design.protocol);
  study.model = model_->config.name;
  study.pretrained = model_->weight_hash();
  study.version = options_.from.version;
  study.command = options_.from.command;
  for (const Dataset& dataset : datasets_) study.datasets.push_back(dataset.name);
  study.draw = name_of(plan_.design.draw);
  study.shots = plan_.design.shots;
  study.seeds = plan_.design.seeds;
  for (const StudyMethod& method : methods_) {
    Json config = method.config.to_json();
    for (const Key& key : RunSettings::schema()) config.erase(key.name);
    study.methods.push_back({method.label, method.name(), std::move(config)});
  }
  study.runs = std::move(runs);
  return study;
}

StudyRecord Study::run() {
  std::vector<StudyRun> records(plan_.runs.size());
  std::vector<std::size_t> left;
  for (std::size_t r = 0; r < plan_.runs.size(); ++r) {
    if (finished_[r]) {
      records[r] = record_of(plan_.runs[r], read_results(folder_of(plan_.runs[r]) / "results.json"));
    } else {
      left.push_back(r);
    }
  }
  const auto total = static_cast<std::int64_t>(plan_.runs.size());
  StudyProgress progress(options_.progress, total - static_cast<std::int64_t>(left.size()), total);
  side_by_side(options_.jobs, left.size(), [&](std::size_t i) {
    if (stop_requested()) return;
    const PlannedRun& run = plan_.runs[left[i]];
    StudyRun& record = records[left[i]];
    RunProgress of_run(progress, run.name);
    try {
      record = do_run(run, &of_run);
      finished_[left[i]] = true;
    } catch (const Stopped&) {
      return;
    } catch (const std::exception& problem) {
      record = record_of(run, {});
      record.error = problem.what();
      log_warning(fmt::format("{} failed: {}", run.name, problem.what()));
    }
    progress.finished(run.name);
  });
  if (stop_requested())
    throw Stopped{fmt::format("the same command goes on where the runs in {} stopped", options_.folder.string())};
  StudyRecord study = record_of(std::move(records));
  study.confusions = best_confusions(
      study, [&](const std::string& run) { return read_results(options_.folder / "runs" / run / "results.json"); });
  study.words = learned_words(study, *model_, options_.folder / "runs");
  write_json(study_file(options_.folder), to_json(study));
  write_study_tables(study, options_.folder);
  return study;
}

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attune/evaluation/experiment.h"
#include "attune/evaluation/study_plan.h"
#include "attune/evaluation/study_record.h"

namespace attune {

/// A method with its settings, as the user named it. The study itself sets shots, draw, domains and classes.
struct StudyMethod {
  std::string label;
  Config config;  // as run_config makes it

  std::string name() const { return config.text("method"); }
};

/// What planning must know of methods.
std::vector<MethodName> names_of(const std::vector<StudyMethod>& methods);

struct StudyOptions {
  std::filesystem::path folder;
  /// Runs side by side, each with one thread of arithmetic; 1: one after the other, with the threads of the program.
  int jobs = 1;
  InputOptions inputs;  // the seed is each run's
  Progress* progress = nullptr;
  Provenance from;
};

/// What lies before a study.
struct StudyOutlook {
  std::int64_t runs = 0;
  std::int64_t finished = 0;  // in an earlier call
  double model_mb = 0;
  double training_seconds = 0;  // of the runs that are left, one after the other
  double feature_seconds = 0;   // at most; less where features are cached
};

/// Runs a plan: each run learns in a folder of its own under runs/ and is then measured. A run that is finished is not
/// done again, and one that was stopped goes on.
class Study {
 public:
  /// The data sets are those of the plan. Throws UsageError, before anything runs or is written, where a method cannot
  /// name the classes of a test set, cannot be made, or a folder holds a run with other settings.
  Study(std::shared_ptr<const ClipModel> model, const std::vector<Dataset>& datasets, StudyPlan plan,
        std::vector<StudyMethod> methods, StudyOptions options);
  ~Study();

  StudyOutlook outlook() const;
  void set_jobs(int jobs) { options_.jobs = jobs; }
  /// Does what is left and writes study.json, study.csv and study.tex. A run that fails is recorded with its error, and
  /// the others go on. Throws Stopped on a request to stop.
  StudyRecord run();

 private:
  struct Tested;

  LearningTask task_of(const PlannedRun& run) const;
  std::string fingerprint_of_run(const PlannedRun& run) const;
  std::filesystem::path folder_of(const PlannedRun& run) const { return options_.folder / "runs" / run.name; }
  bool learns(const PlannedRun& run) const;
  void check_vocabularies() const;
  void look_at_folders();
  StudyRun do_run(const PlannedRun& run, Progress* progress);
  Results measure(const PlannedRun& run, const TestSet& test, Classifier& classifier);
  StudyRun record_of(const PlannedRun& run, const std::vector<Results>& results) const;
  StudyRecord record_of(std::vector<StudyRun> runs) const;

  std::shared_ptr<const ClipModel> model_;
  const std::vector<Dataset>& datasets_;
  StudyPlan plan_;
  std::vector<StudyMethod> methods_;
  StudyOptions options_;
  std::vector<bool> finished_;                             // by run
  std::map<std::string, std::unique_ptr<Tested>> tested_;  // by the hash of the test set
};

}  // namespace attune

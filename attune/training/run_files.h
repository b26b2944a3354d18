#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "attune/formats/event_file.h"
#include "attune/training/checkpoint.h"
#include "attune/training/run_log.h"
#include "attune/training/trainer.h"

namespace attune {

/// What the stages of a run leave on disk while they train, and from where a run that was stopped goes on:
/// checkpoints/last.safetensors, metrics.jsonl and TensorBoard events.
class RunFiles {
 public:
  /// Where `run` is to be resumed and has a checkpoint, the learner and the stage under way take their state from it.
  /// Throws UsageError for a checkpoint with another fingerprint.
  RunFiles(Learner& learner, const Stages& stages, const TrainRun& run);

  /// Where the run stands; whoever trains moves it on.
  Checkpoint& position() { return position_; }
  void write(const Json& line) { log_.write(line); }
  void add_scalar(const Stage& stage, const std::string& name, double value) {
    events_.add_scalar(stage.name() + "/" + name, position_.total_steps, value);
  }
  /// The losses of the step that was done last.
  void write_step(const Stage& stage, const Losses& losses);
  /// `stage`: the one under way; null after the last.
  void save(const Stage* stage);
  /// Saves where the last time is longer ago than the run asks for.
  void save_if_due(const Stage& stage);

 private:
  static Checkpoint begun(Learner& learner, const Stages& stages, const TrainRun& run);

  Learner& learner_;
  const TrainRun& run_;
  Checkpoint position_;
  RunLog log_;
  EventWriter events_;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

/// Throws UsageError where a run has batches of its own, but fewer than the `planned` steps.
void expect_enough_batches(const TrainRun& run, std::int64_t planned);

/// Throws UsageError where a run that is not resumed would begin in the folder of another.
void refuse_a_used_folder(const std::filesystem::path& folder, bool resume);

}  // namespace attune

#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/base/log.h"
#include "attune/methods/learner.h"
#include "attune/training/inputs.h"
#include "attune/training/views.h"

namespace attune {

/// What the trainer itself is told, next to the method's own configuration.
struct TrainSettings {
  enum class Selection { kLast, kValidation } selection = Selection::kLast;
  ViewPlan views;

  static Schema schema();
  explicit TrainSettings(const Config& config);
};

/// One run on disk.
struct TrainRun {
  std::filesystem::path folder;
  bool resume = false;
  std::uint64_t seed = 1;
  std::string fingerprint;  // of everything that the result depends on; a checkpoint with another one is refused
  /// Fixed batches, one a step; empty: keyed by the seed, as are the further batches of a step that takes several.
  std::vector<std::vector<std::int64_t>> order;
  std::chrono::seconds checkpoint_interval{60};
  Progress* progress = nullptr;
};

enum class TrainOutcome { kFinished, kStopped };

/// Trains the stages of a classifier, one after the other. Writes checkpoints/last.safetensors, metrics.jsonl and
/// TensorBoard events into the run's folder; a run that was stopped or killed and resumed ends with the same bits as
/// one that was not. The state at the end is the last epoch's, or the best on `validation`, as the settings say.
TrainOutcome train(Classifier& classifier, const Stages& stages, Inputs& training, Inputs* validation,
                   const TrainSettings& settings, const TrainRun& run);

/// What a run's stages are told of its data. The inputs must outlive it; `validation` may be null or empty.
TrainingData training_data(Inputs& training, Inputs* validation, std::uint64_t seed);

/// The features of every sample in its centre view.
Batch whole_batch(Inputs& inputs);

/// Top-1 accuracy on the centre views.
double accuracy(Classifier& classifier, Inputs& inputs);

/// Reads --order: a JSON-lines file, one list of sample indices a line. Throws Error that names the line.
std::vector<std::vector<std::int64_t>> read_order(const std::filesystem::path& path, std::int64_t samples);

}  // namespace attune

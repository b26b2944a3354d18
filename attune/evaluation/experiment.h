#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "attune/base/config.h"
#include "attune/data/dataset.h"
#include "attune/evaluation/results.h"
#include "attune/methods/learner.h"
#include "attune/training/estimate.h"
#include "attune/training/inputs.h"
#include "attune/training/trainer.h"

namespace attune {

/// Everything that an adapter depends on beside the model. Nothing that is tested is among it.
struct LearningTask {
  std::filesystem::path folder;  // of the run
  Config config;                 // as run_config makes it
  Dataset data;                  // its train and val parts are learned from; test and undivided pictures are refused
  std::string split;             // hash of the split, as the adapter records it
  std::uint64_t seed = 1;
  bool resume = false;
  InputOptions inputs;                // the augmentation is the configuration's
  std::filesystem::path init, order;  // as in attune train; empty: none
  Progress* progress = nullptr;
  std::string version;  // of the program, for the adapter
};

/// SHA-256 of everything that the learned tensors depend on.
std::string fingerprint_of(const ClipModel& model, const LearningTask& task);

/// Learns one adapter in a folder of its own: configuration, checkpoints, logs, adapter.
class Learning {
 public:
  /// Makes the method and lists its inputs; writes nothing. Throws Error where the data holds pictures for testing.
  Learning(std::shared_ptr<const ClipModel> model, LearningTask task);
  Learning(const Learning&) = delete;
  Learning& operator=(const Learning&) = delete;

  std::int64_t training_size() const { return training_.size(); }
  std::int64_t validation_size() const { return validation_.size(); }
  Estimate estimate() const;
  Classifier& classifier() { return *classifier_; }
  /// Trains, or goes on where the run stopped. Throws Stopped on a request to stop.
  void learn();
  /// Writes the adapter; `metrics` is what was measured of it, or null.
  void save(const Json& metrics = nullptr) const;

 private:
  std::shared_ptr<const ClipModel> model_;
  LearningTask task_;
  TrainSettings settings_;
  ClassNames classes_;
  std::unique_ptr<Classifier> classifier_;
  Inputs training_, validation_;
  TrainRun run_;
  Stages stages_;
};

/// Where numbers come from: recorded with every result.
struct Provenance {
  std::uint64_t seed = 1;
  std::string version;  // of the program
  std::string command;  // the command line; may be empty
};

/// A classifier that is not learned: zero-shot with the given templates ("single", "best7", "all80" or a template).
std::unique_ptr<Classifier> zero_shot(std::shared_ptr<const ClipModel> model, const ClassNames& classes,
                                      const std::string& templates = "single");

/// Results of a classifier, whose classes are those of `dataset`, on samples of it.
Results measure_classifier(const ClipModel& model, const Dataset& dataset, Inputs& inputs, Classifier& classifier,
                           const std::string& method, const Provenance& provenance);

}  // namespace attune

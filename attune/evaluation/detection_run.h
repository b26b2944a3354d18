#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/base/log.h"
#include "attune/evaluation/detection.h"
#include "attune/evaluation/experiment.h"
#include "attune/methods/adapter.h"
#include "attune/optim/settings.h"
#include "attune/tasks/detection.h"

namespace attune {

/// Concepts with the queries that stand for them.
struct Concepts {
  std::vector<std::string> names;
  Tensor queries;  // [names, d], or [names, n, d] where the best of n counts
};

/// Queries of names in a sentence, by the text tower of a detector's folder, which is in memory for this call only.
Concepts concepts_by_name(const std::filesystem::path& folder, const LoadOptions& options,
                          const std::vector<std::string>& names, const std::string& sentence);

/// What a search left on disk: the concepts, and the detector without its text tower, changed where a second stage did.
struct LoadedConcepts {
  std::shared_ptr<const OwlVit> detector;
  Concepts concepts;
};
/// Throws Error where it was made for another detector than that of `model` (naming both hashes) or another task.
LoadedConcepts load_concepts(const std::filesystem::path& adapter, const std::filesystem::path& model,
                             const LoadOptions& options);

/// The configuration of a search on a detector.
Schema detection_schema();

/// What is searched for, where, and from which start.
struct DetectionSearch {
  std::filesystem::path folder;  // of the run
  std::filesystem::path model;
  Config config;  // of detection_schema
  BoxDataset data;
  std::vector<BoxPicture> training;
  std::uint64_t seed = 1;
  bool resume = false;
  LoadOptions options;  // device and precision
  Progress* progress = nullptr;
  std::string version;
};

/// What a search ended with.
struct FoundConcepts {
  std::shared_ptr<const OwlVit> detector;  // without its text tower
  Concepts learned;                        // in the search
  double memory_mb = 0;                    // resident at the end of the search
  std::optional<LoadedConcepts> tuned;     // after the second stage, where there is one
};

/// Searches for embeddings of the categories, in a folder of its own, as the run's configuration says, or goes on where
/// the run stopped; writes the adapter. Throws Stopped on a request to stop.
FoundConcepts search_concepts(const DetectionSearch& search);

/// The detections of pictures under several sets of queries, each in the order of the pictures, for measuring: of every
/// score.
std::vector<std::vector<Detection>> find_in_pictures(const OwlVit& detector, const std::filesystem::path& root,
                                                     const std::vector<BoxPicture>& pictures,
                                                     const std::vector<Tensor>& queries, FindSettings settings,
                                                     Progress* progress);

}  // namespace attune

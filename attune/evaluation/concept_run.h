#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/evaluation/detection_run.h"
#include "attune/methods/adapter.h"
#include "attune/tasks/concept_search.h"
#include "attune/tasks/fine_tuning.h"

namespace attune {

/// Embeddings [names, d] of names, by whatever stands for a text encoder.
using ByName = std::function<Tensor(const std::vector<std::string>& names)>;

/// The frozen model that a search is for.
struct SearchedModel {
  std::string task;  // "detection" or "segmentation": an adapter is for one of them
  std::string name, weight_hash;
  std::int64_t width = 0;  // d
};

/// The keys of a search on a frozen task, whatever it is.
Schema concept_schema();

/// Names in a sentence with {}. Throws UsageError where it has none.
std::vector<std::string> sentences_of_names(const std::string& sentence, const std::vector<std::string>& names);

/// Where a search begins [categories, d], as cones.start says: by name, with one name for all, or rows in random
/// directions of that length.
Tensor concept_start(const DetectionSearch& search, std::int64_t width, double random_length, const ByName& by_name);

/// The second stage, where the configuration asks for one. Throws UsageError for settings that do not fit, and unless
/// the search is on the CPU.
std::optional<TuningSettings> second_stage(const DetectionSearch& search);

/// Searches over so many samples in the run's folder, then tunes the model where there is one, or goes on where the run
/// stopped; writes the adapter and returns what the search found. Throws Stopped on a request to stop.
Tensor search_and_tune(const DetectionSearch& search, const SearchedModel& model, ConceptSearch& concepts,
                       std::int64_t samples, const std::optional<TuningSettings>& second,
                       const std::function<TunedModel(const TuningSettings&)>& tuned);

/// What an adapter says of itself. Throws Error where it was made for another model (naming both hashes) or task.
AdapterInfo read_concept_info(const std::filesystem::path& adapter, const SearchedModel& model);
/// The embeddings among an adapter's tensors: [concepts, width], or [concepts, n, width] where `several` may stand for
/// a concept. Throws Error that names the adapter where they are missing or do not fit.
Concepts concepts_of(const std::filesystem::path& adapter, const AdapterInfo& info, const TensorMap& tensors,
                     std::int64_t width, bool several);

}  // namespace attune

#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/evaluation/detection_run.h"
#include "attune/methods/adapter.h"
#include "attune/tasks/task.h"

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

/// Runs the stages of a learner over so many samples in the run's folder, or goes on where the run stopped; writes the
/// adapter. Throws Stopped on a request to stop.
void learn_on_task(const DetectionSearch& search, const SearchedModel& model, Learner& learner, std::int64_t samples);
/// Searches on the task from `start` in the run's folder, or goes on where the run stopped; writes the adapter. Throws
/// Stopped on a request to stop.
Concepts search_on_task(const DetectionSearch& search, const SearchedModel& model, Task& task, const Tensor& start);

/// What an adapter says of itself. Throws Error where it was made for another model (naming both hashes) or task.
AdapterInfo read_concept_info(const std::filesystem::path& adapter, const SearchedModel& model);
/// What a search left on disk. Throws Error where it was made for another model (naming both hashes) or task.
Concepts read_concepts(const std::filesystem::path& adapter, const SearchedModel& model);

}  // namespace attune

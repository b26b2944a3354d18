#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attune/evaluation/concept_run.h"
#include "attune/tasks/segmentation.h"

namespace attune {

/// Conditions of names in a sentence, by the text tower of a segmenter's folder, which is in memory for this call only.
Concepts conditions_by_name(const std::filesystem::path& folder, const LoadOptions& options,
                            const std::vector<std::string>& names, const std::string& sentence);

/// What a search left on disk: the conditions, and the segmenter without its text tower, changed where a second stage
/// did.
struct LoadedConditions {
  std::shared_ptr<const ClipSeg> segmenter;
  Concepts concepts;
};
/// Throws Error where it was made for another segmenter than that of `model` (naming both hashes) or another task.
LoadedConditions load_conditions(const std::filesystem::path& adapter, const std::filesystem::path& model,
                                 const LoadOptions& options);

/// The configuration of a search on a segmenter.
Schema segmentation_schema();

/// What a search on a segmenter ended with.
struct FoundConditions {
  std::shared_ptr<const ClipSeg> segmenter;  // without its text tower
  Concepts learned;                          // in the search
  std::optional<LoadedConditions> tuned;     // after the second stage, where there is one
};

/// Searches for embeddings of the categories of a data set with masks, in a folder of its own, as the run's
/// configuration (of segmentation_schema) says, or goes on where the run stopped; writes the adapter. Throws Stopped on
/// a request to stop.
FoundConditions search_conditions(const DetectionSearch& search);

/// Masks of the labelled objects of pictures, found within their true boxes under several sets of conditions, each with
/// a score of 1: what a segmenter is worth beside a detector that makes no mistake. The last two sets are floors, the
/// box filled and the ellipse in it. Crowds and objects that are too hard are left out.
std::vector<std::vector<Detection>> segment_true_boxes(const ClipSeg& segmenter, const std::filesystem::path& root,
                                                       const std::vector<BoxPicture>& pictures,
                                                       const std::vector<Tensor>& conditions,
                                                       const SegmentSettings& settings, Progress* progress);

/// The mean IoU of masks found in the true boxes of pictures with the objects' own, which stand in the same order.
double mean_mask_overlap(const std::vector<BoxPicture>& pictures, const std::vector<Detection>& found);

}  // namespace attune

#pragma once

#include <filesystem>
#include <string>

#include "attune/base/config.h"
#include "attune/base/log.h"

namespace attune {

/// The keys of a recipe for pre-training a small detector.
Schema detector_pretraining_schema();

struct DetectorPretraining {
  Config recipe;                // of detector_pretraining_schema()
  std::filesystem::path icons;  // folder of the icon sets
  std::filesystem::path out;    // the run's folder
  bool resume = false;          // go on from the run's checkpoint
};

/// What a run needs, worked out before it starts, as one line for people; times are right to about a factor of two.
std::string describe_detector_needs(const Config& recipe);

/// Trains an OWL-ViT that begins with a small CLIP's towers on composites of listed drawings, every scene a new one:
/// detector_loss against the names of the drawings in varied sentences, by the frozen text tower, among other names
/// drawn at random. AdamW, a linear warm-up and a cosine. Writes into `out`: recipe.yaml, drawings.json (the list),
/// metrics.jsonl, checkpoint.safetensors and, with each checkpoint, model/ (an owlvit folder) with model/metrics.json.
///
/// A resumed run computes the bits of one that was never stopped (same thread count). Returns false where it stopped
/// on request before the end, after writing a checkpoint. Throws Error where a loss, gradient or weight is not finite,
/// and UsageError where a resumed run finds another recipe or another list.
bool pretrain_detector(const DetectorPretraining& pretraining, Progress* progress);

}  // namespace attune

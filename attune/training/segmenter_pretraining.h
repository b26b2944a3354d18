#pragma once

#include <filesystem>
#include <string>

#include "attune/base/config.h"
#include "attune/base/log.h"

namespace attune {

/// The keys of a recipe for pre-training a small segmenter.
Schema segmenter_pretraining_schema();

struct SegmenterPretraining {
  Config recipe;                // of segmenter_pretraining_schema()
  std::filesystem::path icons;  // folder of the icon sets
  std::filesystem::path out;    // the run's folder
  bool resume = false;          // go on from the run's checkpoint
};

/// What a run needs, worked out before it starts, as one line for people; times are right to about a factor of two.
std::string describe_segmenter_needs(const Config& recipe);

/// Trains a CLIPSeg that begins with a small CLIP's towers on composites of listed drawings, every scene a new one. It
/// sees objects cut out as a detector would give them, with boxes that are a little wrong, and learns the mask of that
/// object under its name; a share of the views are larger parts of a scene, in which all objects of the name are
/// wanted, or show nothing of the name. AdamW, a linear warm-up and a cosine. Writes into `out`: recipe.yaml,
/// drawings.json (the list), metrics.jsonl, checkpoint.safetensors, masks.png (views of the last step with wanted and
/// found masks) and, with each checkpoint, model/ (a clipseg folder) with model/metrics.json.
///
/// A resumed run computes the bits of one that was never stopped (same thread count). Returns false where it stopped
/// on request before the end, after writing a checkpoint. Throws Error where a loss, gradient or weight is not finite,
/// and UsageError where a resumed run finds another recipe or another list.
bool pretrain_segmenter(const SegmenterPretraining& pretraining, Progress* progress);

}  // namespace attune

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/base/log.h"
#include "attune/domains/mae.h"

namespace attune {

/// The keys of a recipe for pre-training a masked autoencoder.
Schema mae_pretraining_schema();

/// The autoencoder that a recipe asks for. Throws UsageError where its numbers do not fit.
MaeConfig mae_config(const Config& recipe);

struct MaePretraining {
  Config recipe;                                // of mae_pretraining_schema()
  std::vector<std::filesystem::path> pictures;  // unlabelled
  std::filesystem::path out;                    // the run's folder
  bool resume = false;                          // go on from the run's checkpoint
};

/// What a run needs, worked out before it starts, as one line for people; times are right to about a factor of two.
std::string describe_mae_needs(const Config& recipe, std::int64_t pictures);

/// Trains a masked autoencoder (He et al. 2022) on random views of the pictures with AdamW, a linear warm-up and a
/// cosine. Writes into `out`: recipe.yaml, pictures.json, metrics.jsonl, checkpoint.safetensors, reconstructions.png (8
/// pictures: original, visible patches, reconstruction) and, at the end, model/ (a vit_mae folder) with
/// model/metrics.json.
///
/// A resumed run computes the bits of one that was never stopped (same thread count). Returns false where it stopped
/// on request before the end, after writing a checkpoint. Throws Error where a loss, gradient or weight is not finite,
/// and UsageError where a resumed run finds another recipe or other pictures.
bool pretrain_mae(const MaePretraining& pretraining, Progress* progress);

}  // namespace attune

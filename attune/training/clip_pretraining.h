#pragma once

#include <filesystem>

#include "attune/base/config.h"
#include "attune/base/log.h"

namespace attune {

/// The keys of a recipe for pre-training a small CLIP on packed drawings.
Schema clip_pretraining_schema();

struct ClipPretraining {
  Config recipe;               // of clip_pretraining_schema()
  std::filesystem::path data;  // folder of PretrainData and NamingGate
  std::filesystem::path out;   // the run's folder
  bool resume = false;         // go on from the run's checkpoint
};

/// Trains in three stages: the text tower reproduces a sentence encoder's projected embeddings (cosine loss, text
/// only); the image tower learns against those embeddings (contrastive loss); both train together, with the first
/// stage's loss as a weak term. Writes into `out`: recipe.yaml, metrics.jsonl, checkpoint.safetensors and, at every
/// evaluation and at the end, model/ (a Hugging Face folder) with model/metrics.json.
///
/// A resumed run computes the bits of one that was never stopped (same thread count). Returns false where it stopped
/// on request before the end, after writing a checkpoint. Throws Error where a loss, gradient or weight is not finite,
/// and where a tower has collapsed to a point after its warm-up.
bool pretrain_clip(const ClipPretraining& pretraining, Progress* progress);

}  // namespace attune

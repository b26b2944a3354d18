#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/base/log.h"
#include "attune/clip/model.h"
#include "attune/data/dataset.h"
#include "attune/diffusion/noise_schedule.h"
#include "attune/diffusion/unet_config.h"

namespace attune {

/// The keys of a recipe for pre-training a small diffusion model.
Schema diffusion_pretraining_schema();

/// The network that a recipe asks for, whose cells attend to rows of `hidden_width`. Throws UsageError where its
/// numbers do not fit.
UNetConfig pretrain_unet_config(const Config& recipe, std::int64_t hidden_width);
NoiseConfig pretrain_noise_config(const Config& recipe);

struct DiffusionPretraining {
  Config recipe;              // of diffusion_pretraining_schema()
  Dataset data;               // pictures whose captions or classes name them
  std::filesystem::path out;  // the run's folder
  bool resume = false;        // go on from the run's checkpoint
};

/// The pictures that a recipe takes from a data set: those of its training part (where it has no parts, all), of the
/// domains that are named, without those whose path contains `without`.
std::vector<Sample> pretraining_samples(const Config& recipe, const Dataset& data);

/// What a run needs, worked out before it starts, as one line for people; times are right to about a factor of two.
std::string describe_diffusion_needs(const DiffusionPretraining& pretraining);

/// Trains a small diffusion model in the space of pixels (Ho et al. 2020; Rombach et al. 2022 for the steering): views
/// of named pictures, noise at uniform times, the squared error of what the schedule asks for, AdamW, a running mean of
/// the weights. The text encoder, that of a CLIP folder, is frozen: the rows of all captions are computed once. Writes
/// into `out`: recipe.yaml, pictures.json, metrics.jsonl, checkpoint.safetensors, samples.png and, at the end, model/
/// (a diffusers folder whose pipeline has no autoencoder).
///
/// A resumed run computes the bits of one that was never stopped (same thread count). Returns false where it stopped on
/// request before the end, after writing a checkpoint. Throws Error where a loss, gradient or weight is not finite, and
/// UsageError where a resumed run finds another recipe or other pictures.
bool pretrain_diffusion(const DiffusionPretraining& pretraining, Progress* progress);

}  // namespace attune

#pragma once

#include <cstdint>

#include "attune/clip/model.h"
#include "attune/clip/prompts.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// How changes of a detector are named among the tensors of an adapter: a weight by its name in the model behind the
/// first, low-rank deltas ("3.q.down") behind the second.
inline constexpr const char* kChangedWeights = "detector.";
inline constexpr const char* kDetectorLora = "lora.";

/// Deltas that leave the image tower as it is: of the query, key, value and output projection of every block, `down`
/// [rank, width] as PyTorch begins a linear layer and `up` [width, rank] zero; by "BLOCK.PROJECTION.down".
TensorMap first_detector_lora(const VisionConfig& config, std::int64_t rank, std::uint64_t seed);

/// The tuning that these tensors are, scaled by 1; an empty one of none. Throws Error that names a tensor that is
/// missing, unknown or does not fit the tower.
Tuning detector_lora(const TensorMap& tensors, const VisionConfig& config);

}  // namespace attune

#pragma once

#include <cstdint>

#include "attune/clip/model.h"
#include "attune/clip/prompts.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// Behind this name low-rank deltas ("3.q.down") stand among the tensors of an adapter.
inline constexpr const char* kTowerLora = "lora.";

/// Deltas that leave an image tower as it is, as leaves that learn: of the query, key, value and output projection of
/// every block, `down` [rank, width] as PyTorch begins a linear layer and `up` [width, rank] zero; by
/// "BLOCK.PROJECTION.down".
TensorMap first_tower_lora(const VisionConfig& config, std::int64_t rank, std::uint64_t seed);

/// The tuning that these tensors are, scaled by 1; an empty one of none. Throws Error that names a tensor that is
/// missing, unknown or does not fit the tower.
Tuning tower_lora(const TensorMap& tensors, const VisionConfig& config);

}  // namespace attune

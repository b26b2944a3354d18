#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "attune/tensors/tensor.h"

namespace attune {

/// Where a training run stands between two steps, with everything that the rest of it depends on.
struct Checkpoint {
  std::int64_t stage = 0;        // index of the stage that runs
  std::int64_t epoch = 0;        // of this stage
  std::int64_t step = 0;         // steps done in this epoch
  std::int64_t total_steps = 0;  // steps done in all stages
  std::uint64_t log_bytes = 0;   // length of metrics.jsonl
  std::int64_t best_epoch = -1;  // of this stage, where the best epoch on validation is kept
  double best_accuracy = -1.0;
  std::vector<std::pair<std::string, double>> sums;  // of the losses since the epoch began
  std::string fingerprint;                           // of the configuration and the split; another one is refused
  TensorMap learner;                                 // Learner::state
  TensorMap stage_state;                             // Stage::state
  TensorMap best;                                    // Learner::state of the best epoch; empty where none is kept
};

/// Writes atomically: after a kill at any moment the file holds this state or the one before.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);
/// Throws Error that names the file.
Checkpoint load_checkpoint(const std::filesystem::path& path);

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "attune/tensors/tensor.h"

namespace attune {

/// Where a pre-training stands between two steps.
struct PretrainPosition {
  std::int64_t stage = 0;
  std::int64_t step = 0;        // steps done of that stage
  std::int64_t draws = 0;       // steps done of all stages: keys the random numbers
  std::int64_t samples = 0;     // done in all stages
  double seconds = 0.0;         // of work, over all sittings
  std::uint64_t log_bytes = 0;  // length of metrics.jsonl
  double loss_sum = 0.0;        // of the steps since the last report
  std::int64_t summed = 0;      // how many they are
};

/// The files of a run beside its log: checkpoint.safetensors and model/.
class PretrainRun {
 public:
  explicit PretrainRun(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }
  bool has_checkpoint() const;
  /// One file, replaced atomically.
  void save_checkpoint(const PretrainPosition& position, const TensorMap& tensors) const;
  PretrainPosition load_checkpoint(TensorMap& tensors) const;

  /// Replaces model/ by what `write` puts into the folder that it is given.
  void replace_model(const std::function<void(const std::filesystem::path&)>& write) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace attune

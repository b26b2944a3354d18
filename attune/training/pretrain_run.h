#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/json.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// Where a pre-training stands between two steps.
struct PretrainPosition {
  std::int64_t stage = 0;
  std::int64_t step = 0;     // steps done of that stage
  std::int64_t draws = 0;    // steps done of all stages: keys the random numbers
  std::int64_t samples = 0;  // done in all stages
  double seconds = 0.0;      // of work, over all sittings
};

/// The files of a run: checkpoint.safetensors, metrics.jsonl, model/.
class PretrainRun {
 public:
  explicit PretrainRun(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }
  bool has_checkpoint() const;
  /// One file, replaced atomically.
  void save_checkpoint(const PretrainPosition& position, const TensorMap& tensors) const;
  PretrainPosition load_checkpoint(TensorMap& tensors) const;

  /// Adds a line to metrics.jsonl.
  void add_metrics(const Json& line) const;
  /// Takes away the lines that were written after a checkpoint of `samples`.
  void cut_metrics(std::int64_t samples) const;

  /// Replaces model/ by what `write` puts into the folder that it is given.
  void replace_model(const std::function<void(const std::filesystem::path&)>& write) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace attune

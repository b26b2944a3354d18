#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "attune/base/config.h"
#include "attune/base/json.h"
#include "attune/optim/optimiser.h"
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
  /// Where the run stands: at its begin, or where its checkpoint was written, whose tensors go to `tensors`. Throws
  /// UsageError where a new run finds a checkpoint, or a resumed one another recipe than the one that it kept.
  PretrainPosition begin(const Config& recipe, bool resume, TensorMap& tensors) const;
  void keep_recipe(const Config& recipe) const;
  /// One file with the model's state and, where there is one, the optimiser's, replaced atomically.
  void save_checkpoint(const PretrainPosition& position, TensorMap model, const Optimiser* optimiser = nullptr) const;
  PretrainPosition load_checkpoint(TensorMap& tensors) const;

  /// Keeps `list`, the pictures that are learned from with their "sha256", in pictures.json. Throws UsageError where a
  /// resumed run finds another sum there.
  void keep_pictures(const Json& list, bool resumed) const;

  /// Replaces model/ by what `write` puts into the folder that it is given.
  void replace_model(const std::function<void(const std::filesystem::path&)>& write) const;

 private:
  std::filesystem::path folder_;
};

/// AdamW with the recipe's keys optimiser.*; vectors have no weight decay. Its state is taken from a checkpoint's
/// tensors where it is among them.
std::unique_ptr<Optimiser> make_pretrain_optimiser(const std::vector<Parameter>& parameters, const Config& recipe,
                                                   const TensorMap& checkpoint);

/// Backward, guard, clipping at optimiser.clip and an update at `rate`; returns the loss. `where` begins the text of
/// the Error for a loss or a gradient that is not finite.
double pretrain_step(Optimiser& optimiser, const Tensor& loss, const Config& recipe, double rate,
                     const std::string& where, std::int64_t step);

}  // namespace attune

#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/base/json.h"
#include "attune/base/log.h"
#include "attune/training/pretrain_recipe.h"
#include "attune/training/pretrain_run.h"
#include "attune/training/run_log.h"

namespace attune {

/// What one kind of pre-training does at each turn of the loop below. Those marked optional may be empty.
struct PretrainKind {
  /// What a stage trains.
  std::function<std::vector<Parameter>(const PretrainStage&)> parameters;
  /// The loss of the next step.
  std::function<Tensor(const PretrainStage&, const PretrainPosition&)> loss;
  /// Optional: follows an update of the parameters.
  std::function<void(const PretrainPosition&)> updated = {};
  /// Optional: what a line of the log says of the last step, beside its loss, rate and time.
  std::function<Json(const PretrainStage&, const PretrainPosition&)> terms = {};
  /// Optional: a line of the log of its own, after the steps at which something is measured.
  std::function<std::optional<Json>(const PretrainStage&, const PretrainPosition&)> evaluate = {};
  /// The tensors of a checkpoint, without the optimiser's.
  std::function<TensorMap()> state;
  /// Optional: what is written with each checkpoint; takes the last line of losses, empty before the first.
  std::function<void(const PretrainPosition&, const Json&)> keep = {};
  /// Optional: what is written at the end.
  std::function<void(const PretrainPosition&, const Json&)> finish = {};
};

/// The loop of every pre-training: steps, lines of metrics.jsonl, checkpoints by the clock. A run that is stopped, or
/// killed, and resumed ends with the same bits.
class PretrainLoop {
 public:
  /// Begins a run in `folder`, or goes on with the one that is there. Throws UsageError where a new run finds a
  /// checkpoint, a resumed one another recipe, or either another process at work.
  PretrainLoop(const Config& recipe, const std::filesystem::path& folder, bool resume, Progress* progress);

  const PretrainRun& run() const { return run_; }
  /// The checkpoint's tensors; empty where the run is new.
  const TensorMap& saved() const { return saved_; }
  bool resumed() const { return !saved_.empty(); }

  /// The steps that are left of `stages`; false where the run was stopped on request.
  bool train(const std::vector<PretrainStage>& stages, const PretrainKind& kind);

 private:
  using Clock = std::chrono::steady_clock;

  bool train_stage(const PretrainStage& stage, const PretrainKind& kind);
  void step(const PretrainStage& stage, const PretrainKind& kind);
  void report(const PretrainStage& stage, const PretrainKind& kind);
  void checkpoint(const PretrainKind& kind);
  /// Of work, over all sittings.
  double seconds() const;
  /// Samples a second are counted from here on.
  void count_from_here();

  const Config& recipe_;
  Progress* progress_;
  PretrainRun run_;
  TensorMap saved_;
  PretrainPosition position_;
  RunLog log_;
  std::unique_ptr<Optimiser> optimiser_;
  std::int64_t total_ = 0;      // samples of all stages
  Json line_ = Json::object();  // the last of losses
  std::string note_;
  Clock::time_point begun_;
  double saved_at_, counted_at_ = 0.0;
  std::int64_t counted_samples_ = 0;
};

}  // namespace attune

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attune/methods/learner.h"
#include "attune/optim/settings.h"

namespace attune {

/// What a stage that descends on one loss with one optimiser works on.
struct DescentWork {
  std::string name;
  OptimSettings settings;
  std::vector<ParameterGroup> parameters;
  /// Logits [B, C] of a training batch with gradients to the parameters; the loss is their cross-entropy.
  std::function<Tensor(const Batch&)> logits;
  /// Called after every update.
  std::function<void()> updated;
  /// The domain whose samples alone are learned from and validated on; negative: all.
  std::int64_t domain = -1;
  /// The best epoch is chosen by `logits`, not by the classifier's.
  bool judged_by_logits = false;
};

/// The stage of CoOp and of many methods after it. It reports "loss" and "accuracy".
std::unique_ptr<Stage> make_descent_stage(DescentWork work);

}  // namespace attune

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attune/methods/learner.h"
#include "attune/optim/settings.h"

namespace attune {

/// The loss of a training batch, with gradients to the parameters, and what is reported of it.
struct Objective {
  Tensor loss;        // scalar
  Tensor logits;      // [B, C], of the reported accuracy; undefined: there is none
  Losses terms = {};  // of the loss, where it has several
  /// Gives the parameters, whose gradients are zero before, their gradients; null: those of the loss.
  std::function<void()> backward = nullptr;
};

/// The loss of most methods.
Objective cross_entropy(const Tensor& logits, const Tensor& labels);

/// What a stage that descends on one loss with one optimiser works on.
struct DescentWork {
  std::string name;
  OptimSettings settings;
  std::vector<ParameterGroup> parameters;
  /// The number of steps done so far keys what is random in a step.
  std::function<Objective(const Batch&, std::int64_t step)> objective;
  /// Called after every update.
  std::function<void()> updated = [] {};
  /// The domain whose samples alone are learned from and validated on; negative: all.
  std::int64_t domain = -1;
  /// Logits [B, C] by which the best epoch is chosen; null: the classifier's.
  std::function<Tensor(const Batch&)> judged_by = nullptr;
  /// Where it is positive, the learning rate follows its schedule from step to step instead of from epoch to epoch; an
  /// epoch has so many.
  std::int64_t steps_an_epoch = 0;
  /// What a step sends through the towers with gradients, as in StepCost.
  std::int64_t contexts = 0, pictures = 0;
};

/// The stage of CoOp and of many methods after it. It reports "loss" and "accuracy".
std::unique_ptr<Stage> make_descent_stage(DescentWork work);

}  // namespace attune

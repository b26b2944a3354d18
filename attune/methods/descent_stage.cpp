#include "attune/methods/descent_stage.h"

#include <utility>

namespace attune {
namespace {

/// The settings with a schedule that counts what the work's counts: steps or epochs.
OptimSettings by_step(const DescentWork& work) {
  OptimSettings settings = work.settings;
  if (work.steps_an_epoch == 0) return settings;
  settings.schedule.epochs *= static_cast<int>(work.steps_an_epoch);
  settings.schedule.warmup_epochs *= static_cast<int>(work.steps_an_epoch);
  return settings;
}

std::int64_t numbers_of(const std::vector<ParameterGroup>& groups) {
  std::int64_t numbers = 0;
  for (const ParameterGroup& group : groups) {
    for (const auto& parameter : group.parameters) numbers += parameter.value.numel();
  }
  return numbers;
}

class DescentStage final : public Stage {
 public:
  explicit DescentStage(DescentWork work) : work_(std::move(work)), descent_(by_step(work_), work_.parameters) {}

  std::string name() const override { return work_.name; }
  int epochs() const override { return work_.settings.schedule.epochs; }
  std::int64_t batch_size() const override { return work_.settings.batch_size; }
  void begin_epoch(int epoch) override {
    if (work_.steps_an_epoch == 0) descent_.begin_epoch(epoch);
  }
  StepCost cost() const override { return {work_.contexts, work_.pictures, numbers_of(work_.parameters)}; }
  double learning_rate() const override { return descent_.learning_rate(); }
  TensorMap state() const override { return descent_.state(); }
  void load_state(const TensorMap& state) override { descent_.load_state(state); }

  std::int64_t domain() const override { return work_.domain; }
  Tensor validation_logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return work_.judged_by ? work_.judged_by(batch) : Tensor();
  }

  Losses step(BatchSource& batches) override {
    if (work_.steps_an_epoch > 0) descent_.begin_epoch(static_cast<int>(descent_.steps()));
    const Batch batch = batches.next();
    const Objective objective = work_.objective(batch, descent_.steps());
    if (objective.backward) {
      descent_.step(objective.loss, objective.backward);
    } else {
      descent_.step(objective.loss);
    }
    work_.updated();
    Losses losses = {{"loss", objective.loss.item<double>()}};
    if (objective.logits.defined()) {
      const Tensor answers = objective.logits.detach().argmax(1);
      const Tensor right = answers.eq(batch.labels.to(answers.device())).to(at::kDouble);
      losses.emplace_back("accuracy", right.mean().item<double>());
    }
    losses.insert(losses.end(), objective.terms.begin(), objective.terms.end());
    return losses;
  }

 private:
  DescentWork work_;
  Descent descent_;
};

}  // namespace

Objective cross_entropy(const Tensor& logits, const Tensor& labels) {
  return {at::cross_entropy_loss(logits, labels.to(logits.device())), logits};
}

std::unique_ptr<Stage> make_descent_stage(DescentWork work) {
  return std::make_unique<DescentStage>(std::move(work));
}

}  // namespace attune

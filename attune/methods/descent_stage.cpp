#include "attune/methods/descent_stage.h"

#include <utility>

namespace attune {
namespace {

class DescentStage final : public Stage {
 public:
  explicit DescentStage(DescentWork work) : work_(std::move(work)), descent_(work_.settings, work_.parameters) {}

  std::string name() const override { return work_.name; }
  int epochs() const override { return work_.settings.schedule.epochs; }
  std::int64_t batch_size() const override { return work_.settings.batch_size; }
  void begin_epoch(int epoch) override { descent_.begin_epoch(epoch); }
  double learning_rate() const override { return descent_.learning_rate(); }
  TensorMap state() const override { return descent_.state(); }
  void load_state(const TensorMap& state) override { descent_.load_state(state); }

  std::int64_t domain() const override { return work_.domain; }
  Tensor validation_logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return work_.judged_by_logits ? work_.logits(batch) : Tensor();
  }

  Losses step(BatchSource& batches) override {
    const Batch batch = batches.next();
    const Tensor logits = work_.logits(batch);
    const Tensor loss = at::cross_entropy_loss(logits, batch.labels);
    descent_.step(loss);
    work_.updated();
    const double accuracy = logits.detach().argmax(1).eq(batch.labels).to(at::kDouble).mean().item<double>();
    return {{"loss", loss.item<double>()}, {"accuracy", accuracy}};
  }

 private:
  DescentWork work_;
  Descent descent_;
};

}  // namespace

std::unique_ptr<Stage> make_descent_stage(DescentWork work) {
  return std::make_unique<DescentStage>(std::move(work));
}

}  // namespace attune

#include "attune/methods/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/optim/lbfgs.h"

namespace attune {
namespace {

struct ProbeSettings {
  double c = 0.316;
  std::int64_t iterations = 1000;
  bool normalise = false;

  explicit ProbeSettings(const Config& config)
      : c(config.number("probe.c")),
        iterations(config.integer("probe.iterations")),
        normalise(config.flag("probe.normalise")) {
    if (!(c > 0) || !std::isfinite(c)) {
      throw UsageError(fmt::format("probe.c: expected a positive number, found {}", c));
    }
    if (iterations < 1) throw UsageError(fmt::format("probe.iterations: expected at least 1, found {}", iterations));
  }
};

/// The objective divided by C n, so that its gradient, and with it the tolerance, does not grow with the samples.
/// The point [C, d + 1] is the weight with the bias as its last column; `features` [n, d + 1] end in ones.
Objective regression(const Tensor& features, const Tensor& labels, double c) {
  const auto samples = static_cast<double>(features.size(0));
  const Tensor index = labels.unsqueeze(1);
  return [=](const Tensor& point) -> std::pair<double, Tensor> {
    const Tensor log_probabilities = at::log_softmax(at::matmul(features, point.t()), 1);
    Tensor penalised = point / (c * samples);
    penalised.select(1, point.size(1) - 1).zero_();
    const double loss = -log_probabilities.gather(1, index).sum().item<double>() / samples;
    const double penalty = 0.5 * point.mul(penalised).sum().item<double>();
    Tensor errors = log_probabilities.exp();
    errors.scatter_add_(1, index, at::full_like(index, -1.0, errors.options()));
    return {loss + penalty, at::matmul(errors.t(), features) / samples + penalised};
  };
}

class LinearProbe final : public Classifier {
 public:
  LinearProbe(const ClipModel& model, const ClassNames& classes, const Config& config)
      : settings_(config),
        classes_(classes.names),
        weight_(at::zeros({static_cast<std::int64_t>(classes_.size()), model.config.joint_width})),
        bias_(at::zeros({weight_.size(0)})) {}

  bool open_vocabulary() const override { return false; }

  void set_classes(const ClassNames& classes) override {
    if (classes.names == classes_) return;
    if (classes.names.size() != classes_.size()) {
      throw UsageError(
          fmt::format("linear_probe: expected the {} classes it was trained on, found {}; train a prompt method, such "
                      "as coop, to name new classes",
                      classes_.size(), classes.names.size()));
    }
    const auto differ = std::mismatch(classes_.begin(), classes_.end(), classes.names.begin());
    throw UsageError(fmt::format(
        "linear_probe: expected the classes it was trained on, in their order, found \"{}\" in the place of \"{}\"",
        *differ.second, *differ.first));
  }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return at::linear(inputs(batch.image_features), weight_, bias_);
  }

  TensorMap state() const override { return {{"bias", bias_}, {"weight", weight_}}; }
  void load_state(const TensorMap& state) override { copy_state(state, this->state(), "linear_probe"); }
  Stages stages(const TrainingData& data) override;

  /// Goes from the present state to the optimum of `batch`.
  Losses fit(const Batch& batch) {
    const at::NoGradGuard no_gradients;
    const Tensor features = inputs(batch.image_features.to(at::kDouble));
    const Tensor broken = features.isfinite().all(1).logical_not().nonzero();
    if (broken.size(0) > 0) {
      throw Error(fmt::format("linear_probe: expected finite image features, found {} samples without, first sample {}",
                              broken.size(0), batch.samples.at(static_cast<std::size_t>(broken[0].item<int64_t>()))));
    }
    const Objective objective = regression(at::constant_pad_nd(features, {0, 1}, 1.0), batch.labels, settings_.c);
    const Tensor start = at::cat({weight_, bias_.unsqueeze(1)}, 1).to(at::kDouble);
    const LbfgsResult found = minimise_lbfgs(objective, start, {.iterations = settings_.iterations});
    weight_.copy_(found.point.narrow(1, 0, weight_.size(1)));
    bias_.copy_(found.point.select(1, weight_.size(1)));
    const Tensor logits = this->logits(batch);
    const double accuracy = logits.argmax(1).eq(batch.labels).to(at::kDouble).mean().item<double>();
    return {{"loss", at::cross_entropy_loss(logits, batch.labels).item<double>()},
            {"accuracy", accuracy},
            {"objective", found.value},
            {"gradient", found.gradient},
            {"iterations", static_cast<double>(found.iterations)},
            {"converged", found.converged ? 1.0 : 0.0}};
  }

 private:
  Tensor inputs(const Tensor& features) const { return settings_.normalise ? normalise_rows(features) : features; }

  ProbeSettings settings_;
  std::vector<std::string> classes_;
  Tensor weight_;  // [C, d]
  Tensor bias_;    // [C]
};

/// One epoch of one batch.
class LinearProbeStage final : public Stage {
 public:
  LinearProbeStage(LinearProbe& learner, std::int64_t samples) : learner_(learner), samples_(samples) {}

  std::string name() const override { return "linear_probe"; }
  int epochs() const override { return 1; }
  std::int64_t batch_size() const override { return samples_; }
  void begin_epoch(int) override {}
  Losses step(BatchSource& batches) override { return learner_.fit(batches.next()); }
  double learning_rate() const override { return 0.0; }
  TensorMap state() const override { return {}; }
  void load_state(const TensorMap& state) override { copy_state(state, {}, "linear_probe's stage"); }

 private:
  LinearProbe& learner_;
  std::int64_t samples_;
};

Stages LinearProbe::stages(const TrainingData& data) {
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(std::make_unique<LinearProbeStage>(*this, std::max<std::int64_t>(1, data.samples)));
  return stages;
}

}  // namespace

Method linear_probe_method() {
  return {"linear_probe",
          "Linear probe: logistic regression on the image features (Radford et al. 2021)",
          {{"probe.c", 0.316, "weight of the data against the penalty |W|^2 / 2; 0.316 is CLIP's own"},
           {"probe.iterations", 1000, "L-BFGS iterations at most"},
           {"probe.normalise", false, "fit features of unit length; CLIP's and CoOp's probes take them as they are"}},
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t)
              -> std::unique_ptr<Classifier> { return std::make_unique<LinearProbe>(*model, classes, config); }};
}

}  // namespace attune

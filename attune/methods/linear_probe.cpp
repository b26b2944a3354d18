#include "attune/methods/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/optim/lbfgs.h"

namespace attune {
namespace {

struct ProbeSettings {
  double c = 0.316;
  std::int64_t iterations = 1000;
  bool normalise = false, search = false;

  explicit ProbeSettings(const Config& config)
      : c(config.number("probe.c")),
        iterations(config.integer("probe.iterations")),
        normalise(config.flag("probe.normalise")),
        search(config.flag("probe.search")) {
    if (!(c > 0) || !std::isfinite(c)) {
      throw UsageError(fmt::format("probe.c: expected a positive number, found {}", c));
    }
    if (iterations < 1) throw UsageError(fmt::format("probe.iterations: expected at least 1, found {}", iterations));
  }
};

/// The objective divided by C n, so that its gradient, and with it the tolerance, does not grow with the samples.
/// The point [C, d + 1] is the weight with the bias as its last column; `features` [n, d + 1] end in ones.
SmoothFunction regression(const Tensor& features, const Tensor& labels, double c) {
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

/// The C of the best validation accuracy: the best of seven, from 1e6 to 1e-6, then eight halvings, in logarithms, of
/// the range of a hundred around it, each towards its better end; of equal ones the smaller. (CoOp's lpclip.)
double best_penalty(const std::function<double(double)>& accuracy) {
  double exponent = 0, best = -1;
  for (double tried = -6; tried <= 6; tried += 2) {
    const double found = accuracy(std::pow(10, tried));
    if (found <= best) continue;
    exponent = tried;
    best = found;
  }
  double left = exponent - 1, right = exponent + 1;
  double left_accuracy = accuracy(std::pow(10, left)), right_accuracy = accuracy(std::pow(10, right));
  for (int halving = 1; halving < 8; ++halving) {
    const double middle = 0.5 * (left + right);
    const double found = accuracy(std::pow(10, middle));
    (left_accuracy < right_accuracy ? left : right) = middle;
    (left_accuracy < right_accuracy ? left_accuracy : right_accuracy) = found;
  }
  return std::pow(10, left_accuracy < right_accuracy ? right : left);
}

class LinearProbe final : public Classifier {
 public:
  LinearProbe(const ClipModel& model, const ClassNames& classes, const Config& config)
      : settings_(config),
        classes_(classes.names),
        weight_(at::zeros({static_cast<std::int64_t>(classes_.size()), model.config.joint_width})),
        bias_(at::zeros({weight_.size(0)})) {}

  bool open_vocabulary() const override { return false; }

  void set_classes(const ClassNames& classes) override { expect_trained_classes("linear_probe", classes_, classes); }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return at::linear(inputs(batch.image_features), weight_, bias_);
  }

  TensorMap state() const override { return {{"bias", bias_}, {"weight", weight_}}; }
  void load_state(const TensorMap& state) override { copy_state(state, this->state(), "linear_probe"); }
  Stages stages(const TrainingData& data) override;

  /// Goes from the present state to the optimum of `batch`; with a validation batch to that of the best C on it.
  Losses fit(const Batch& batch, const std::optional<Batch>& validation) {
    const at::NoGradGuard no_gradients;
    const Tensor features = inputs(batch.image_features.to(at::kDouble));
    const Tensor broken = features.isfinite().all(1).logical_not().nonzero();
    if (broken.size(0) > 0) {
      throw Error(fmt::format("linear_probe: expected finite image features, found {} samples without, first sample {}",
                              broken.size(0), batch.samples.at(static_cast<std::size_t>(broken[0].item<int64_t>()))));
    }
    const Tensor start = at::cat({weight_, bias_.unsqueeze(1)}, 1).to(at::kDouble);
    const Tensor rows = at::constant_pad_nd(features, {0, 1}, 1.0);
    const auto solve = [&](double c) {
      LbfgsResult found =
          minimise_lbfgs(regression(rows, batch.labels, c), start, {.iterations = settings_.iterations});
      weight_.copy_(found.point.narrow(1, 0, weight_.size(1)));
      bias_.copy_(found.point.select(1, weight_.size(1)));
      return found;
    };
    double c = settings_.c;
    if (validation) {
      c = best_penalty([&](double tried) {
        solve(tried);
        return logits(*validation).argmax(1).eq(validation->labels).to(at::kDouble).mean().item<double>();
      });
    }
    const LbfgsResult found = solve(c);
    const Tensor logits = this->logits(batch);
    const double accuracy = logits.argmax(1).eq(batch.labels).to(at::kDouble).mean().item<double>();
    return {{"loss", at::cross_entropy_loss(logits, batch.labels).item<double>()},
            {"accuracy", accuracy},
            {"c", c},
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
  LinearProbeStage(LinearProbe& learner, std::int64_t samples, std::function<Batch()> validation)
      : learner_(learner), samples_(samples), validation_(std::move(validation)) {}

  std::string name() const override { return "linear_probe"; }
  int epochs() const override { return 1; }
  std::int64_t batch_size() const override { return samples_; }
  void begin_epoch(int) override {}
  Losses step(BatchSource& batches) override {
    return learner_.fit(batches.next(), validation_ ? std::optional(validation_()) : std::nullopt);
  }
  double learning_rate() const override { return 0.0; }
  TensorMap state() const override { return {}; }
  void load_state(const TensorMap& state) override { copy_state(state, {}, "linear_probe's stage"); }

 private:
  LinearProbe& learner_;
  std::int64_t samples_;
  std::function<Batch()> validation_;  // null: the C of the configuration is taken
};

Stages LinearProbe::stages(const TrainingData& data) {
  Stages stages;
  if (settings_.search && !data.validation) {
    throw UsageError("probe.search: expected validation samples to search C on, found none in the split");
  }
  stages.push_back(std::make_unique<LinearProbeStage>(*this, std::max<std::int64_t>(1, data.samples),
                                                      settings_.search ? data.validation : nullptr));
  return stages;
}

}  // namespace

Method linear_probe_method() {
  return {
      "linear_probe",
      "Linear probe: logistic regression on the image features (Radford et al. 2021)",
      {{"probe.c", 0.316, "weight of the data against the penalty |W|^2 / 2; 0.316 is CLIP's own"},
       {"probe.search", false, "take the C, between 1e-7 and 1e7, that is best on validation, as CoOp's probe does"},
       {"probe.iterations", 1000, "L-BFGS iterations at most"},
       {"probe.normalise", false, "fit features of unit length; CLIP's and CoOp's probes take them as they are"}},
      [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t)
          -> std::unique_ptr<Classifier> { return std::make_unique<LinearProbe>(*model, classes, config); }};
}

}  // namespace attune

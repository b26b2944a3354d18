#include "attune/methods/promptsrc.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/prompted_towers.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

constexpr const char* kAverage = "average.";

struct PromptSrcSettings {
  double text_weight, image_weight, logit_weight;
  double mean, deviation;  // of the Gaussian over epochs; deviation 0: the last epoch's tokens are kept

  explicit PromptSrcSettings(const Config& config)
      : text_weight(config.number("text_weight")),
        image_weight(config.number("image_weight")),
        logit_weight(config.number("logit_weight")),
        mean(config.number("average.mean")),
        deviation(config.number("average.deviation")) {
    if (!(deviation >= 0)) throw UsageError(fmt::format("average.deviation: expected at least 0, found {}", deviation));
  }
};

/// A stage whose learned tensors become, at its end, their weighted average over the epochs.
class AveragedStage final : public Stage {
 public:
  AveragedStage(std::unique_ptr<Stage> stage, TensorMap learned, std::vector<double> weights)
      : stage_(std::move(stage)), learned_(std::move(learned)), weights_(std::move(weights)) {
    for (const auto& [name, tensor] : learned_) average_[name] = at::zeros_like(tensor.detach());
  }

  std::string name() const override { return stage_->name(); }
  int epochs() const override { return stage_->epochs(); }
  std::int64_t batch_size() const override { return stage_->batch_size(); }
  StepCost cost() const override { return stage_->cost(); }
  void begin_epoch(int epoch) override { stage_->begin_epoch(epoch); }
  Losses step(BatchSource& batches) override { return stage_->step(batches); }
  double learning_rate() const override { return stage_->learning_rate(); }

  void end_epoch(int epoch) override {
    const at::NoGradGuard no_gradients;
    for (const auto& [name, tensor] : learned_) {
      average_[name].add_(tensor, weights_.at(static_cast<std::size_t>(epoch)));
      if (epoch + 1 == epochs()) tensor.copy_(average_[name]);
    }
  }

  TensorMap state() const override {
    TensorMap state = stage_->state();
    add_state(state, kAverage, average_);
    return state;
  }
  void load_state(const TensorMap& state) override {
    copy_state(part_of_state(state, kAverage), average_, "checkpoint: average");
    TensorMap rest;
    for (const auto& [name, tensor] : state) {
      if (!name.starts_with(kAverage)) rest[name] = tensor;
    }
    stage_->load_state(rest);
  }

 private:
  std::unique_ptr<Stage> stage_;
  TensorMap learned_, average_;
  std::vector<double> weights_;
};

class PromptSrc final : public PromptedTowers {
 public:
  PromptSrc(std::shared_ptr<const ClipModel> model, const TowerPromptSettings& settings, const ClassNames& classes,
            const Config& config, std::uint64_t seed)
      : PromptedTowers(std::move(model), "promptsrc", settings, classes, config, seed),
        settings_(config),
        templates_(template_ensemble(config.text("teacher"))),
        classes_(classes) {}

  Needs needs() const override { return {.features = true, .pixels = prompts().sees_pixels()}; }

  void set_classes(const ClassNames& classes) override {
    classes_ = classes;
    teacher_.reset();
    PromptedTowers::set_classes(classes);
  }

  Stages stages(const TrainingData& data) override {
    Stages stages = PromptedTowers::stages(data);
    if (settings_.deviation > 0) {
      stages[0] = std::make_unique<AveragedStage>(
          std::move(stages[0]), prompts().learned(),
          epoch_weights(optim_settings().schedule.epochs, settings_.mean, settings_.deviation));
    }
    return stages;
  }

 protected:
  Objective objective(const Batch& batch) const override {
    const Tensor text = normalise_rows(prompts().class_features()), teacher = teacher_features();
    const Tensor image = normalise_rows(image_features(batch));
    const Tensor frozen = normalise_rows(batch.image_features.to(image.device()));
    const Tensor logits = at::matmul(image, text.t()) * model().logit_scale;
    const Tensor expected = at::log_softmax(at::matmul(frozen, teacher.t()) * model().logit_scale, 1);

    const Tensor crossed = cross_entropy(logits, batch.labels).loss;
    const Tensor text_distance = (text - teacher).abs().mean();
    const Tensor image_distance = (image - frozen).abs().mean();
    // Over all entries, as the published code divides it.
    const Tensor divergence = (expected.exp() * (expected - at::log_softmax(logits, 1))).mean();
    const Tensor loss = crossed + settings_.text_weight * text_distance + settings_.image_weight * image_distance +
                        settings_.logit_weight * divergence;
    return {loss,
            logits,
            {{"cross_entropy", crossed.item<double>()},
             {"text_distance", text_distance.item<double>()},
             {"image_distance", image_distance.item<double>()},
             {"divergence", divergence.item<double>()}}};
  }

 private:
  /// Normalised features [C, d] of the frozen model: the mean over the templates before it is normalised.
  Tensor teacher_features() const {
    if (teacher_.defined()) return teacher_;
    std::vector<std::string> sentences;
    for (const std::string& name : classes_.names) {
      for (const std::string& one : templates_) sentences.push_back(fill(one, name));
    }
    const Tensor features = sentence_features(model(), sentences);
    teacher_ =
        normalise_rows(features.view({-1, static_cast<std::int64_t>(templates_.size()), features.size(1)}).mean(1));
    return teacher_;
  }

  PromptSrcSettings settings_;
  std::vector<std::string> templates_;
  ClassNames classes_;
  mutable Tensor teacher_;  // made when training first asks for it
};

}  // namespace

std::vector<double> epoch_weights(int epochs, double mean, double deviation) {
  // Relative to the largest, so that no mean is too far from the epochs for their numbers to exist.
  std::vector<double> exponents, weights;
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    exponents.push_back(-0.5 * std::pow((epoch - mean) / deviation, 2));
  }
  const double largest = *std::max_element(exponents.begin(), exponents.end());
  double sum = 0;
  for (const double exponent : exponents) sum += weights.emplace_back(std::exp(exponent - largest));
  for (double& weight : weights) weight /= sum;
  return weights;
}

Method promptsrc_method() {
  TowerPromptSettings defaults;
  defaults.text_tokens = defaults.vision_tokens = 4;
  Schema schema = TowerPromptSettings::schema(defaults);
  const Schema own = {
      {"text_weight", 25.0, "weight of the mean distance between learned and frozen text features"},
      {"image_weight", 10.0, "the same of image features"},
      {"logit_weight", 1.0, "weight of the divergence between learned and frozen answers"},
      {"teacher", "promptsrc60", "templates of the frozen text features: single, best7, all80, promptsrc60"},
      {"average.mean", 15.0, "epoch, counted from 1, with the largest weight in the average of the tokens"},
      {"average.deviation", 1.0, "width of the Gaussian over the epochs; 0: the last epoch's tokens are kept"},
  };
  schema.insert(schema.end(), own.begin(), own.end());
  for (Key& key : OptimSettings::schema({{"epochs", 20}, {"batch_size", 4}, {"optim.lr", 0.0025}})) {
    schema.push_back(std::move(key));
  }
  return {"promptsrc", "PromptSRC: prompts of both towers held near the frozen model (Khattak et al. 2023)",
          std::move(schema),
          [defaults](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
                     std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<PromptSrc>(std::move(model), TowerPromptSettings(config, defaults), classes, config,
                                               seed);
          }};
}

}  // namespace attune

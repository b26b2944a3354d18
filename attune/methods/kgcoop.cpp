#include "attune/methods/kgcoop.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/context_classifier.h"
#include "attune/methods/hand_features.h"

namespace attune {
namespace {

class KgCoOp final : public ContextClassifier {
 public:
  KgCoOp(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const ContextSettings& settings,
         const Config& config, std::uint64_t seed)
      : ContextClassifier("kgcoop", model, classes, settings,
                          initial_context(*model, settings, static_cast<std::int64_t>(classes.names.size()), seed)),
        trained_classes_(classes),
        templates_(config.text("templates")),
        weight_(config.number("kgcoop.weight")),
        optim_settings_(config) {
    if (!(weight_ >= 0)) throw UsageError(fmt::format("kgcoop.weight: expected at least 0, found {}", weight_));
  }

  Stages stages(const TrainingData&) override {
    const Tensor hand = hand_features(*model_, trained_classes_, templates_);
    Stages stages;
    stages.push_back(context_stage(optim_settings_, [this, hand](const Batch& batch, std::int64_t) {
      const Tensor features = class_features();
      Objective objective =
          cross_entropy(cosine_logits(batch.image_features, features, model_->logit_scale), batch.labels);
      const Tensor distance = 1 - (normalise_rows(features) * hand).sum(1).mean();
      objective.terms = {{"cross_entropy", objective.loss.item<double>()}, {"distance", distance.item<double>()}};
      objective.loss = objective.loss + weight_ * distance;
      return objective;
    }));
    return stages;
  }

 private:
  ClassNames trained_classes_;
  std::string templates_;
  double weight_;
  OptimSettings optim_settings_;
};

}  // namespace

Method kgcoop_method() {
  Schema schema = ContextSettings::schema("a photo of a");
  schema.push_back({"kgcoop.weight", 8.0, "of the distance to the hand-written sentences", {"TRAINER.COOP.W"}});
  schema.push_back(templates_key());
  for (Key& key : OptimSettings::schema({{"epochs", 100}, {"batch_size", 128}})) schema.push_back(std::move(key));
  return {"kgcoop", "KgCoOp: CoOp kept near hand-written sentences (Yao et al. 2023)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<KgCoOp>(std::move(model), classes, ContextSettings(config), config, seed);
          }};
}

}  // namespace attune

#include "attune/methods/coop.h"

#include <utility>

#include "attune/methods/context_classifier.h"

namespace attune {
namespace {

class CoOp final : public ContextClassifier {
 public:
  CoOp(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const ContextSettings& settings,
       const Config& config, std::uint64_t seed)
      : ContextClassifier("coop", model, classes, settings,
                          initial_context(*model, settings, static_cast<std::int64_t>(classes.names.size()), seed)),
        optim_settings_(config) {}

  Stages stages(const TrainingData&) override {
    Stages stages;
    stages.push_back(context_stage(optim_settings_, [this](const Batch& batch, std::int64_t) {
      return cross_entropy(cosine_logits(batch.image_features, class_features(), model_->logit_scale), batch.labels);
    }));
    return stages;
  }

 private:
  OptimSettings optim_settings_;
};

}  // namespace

Method coop_method() {
  Schema schema = ContextSettings::schema();
  for (Key& key : OptimSettings::schema()) schema.push_back(std::move(key));
  return {"coop", "CoOp: learns the context words around the class names (Zhou et al. 2022)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<CoOp>(std::move(model), classes, ContextSettings(config), config, seed);
          }};
}

}  // namespace attune

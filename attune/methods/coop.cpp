#include "attune/methods/coop.h"

#include <utility>

#include "attune/base/error.h"
#include "attune/methods/context.h"
#include "attune/methods/descent_stage.h"

namespace attune {
namespace {

class CoOp final : public Classifier {
 public:
  CoOp(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : model_(std::move(model)),
        context_settings_(config),
        optim_settings_(config),
        context_(initial_context(*model_, context_settings_, static_cast<std::int64_t>(classes.names.size()), seed)),
        prompts_(make_prompts(classes)) {
    context_.requires_grad_(true);
  }

  bool open_vocabulary() const override { return !context_settings_.class_specific; }

  void set_classes(const ClassNames& classes) override {
    if (!open_vocabulary() && static_cast<std::int64_t>(classes.names.size()) != context_.size(0)) {
      throw UsageError(
          "coop: a class-specific context knows only the classes it was trained on; train a shared one "
          "(context.class_specific=false) to name new classes");
    }
    prompts_ = make_prompts(classes);
    class_features_.reset();
  }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    if (!class_features_.defined()) class_features_ = class_features();
    return cosine_logits(batch.image_features, class_features_, model_->logit_scale);
  }

  TensorMap state() const override { return {{"context", context_.detach()}}; }
  void load_state(const TensorMap& state) override {
    copy_state(state, this->state(), "coop");
    class_features_.reset();
  }

  Stages stages(const TrainingData& data) override;

 private:
  /// [C, d] with gradients to the context.
  Tensor class_features() const { return model_->text->encode(prompts_(context_)).squeeze(0); }

  ContextPrompts make_prompts(const ClassNames& classes) const {
    return {*model_, classes, context_.size(-2), context_settings_.class_specific, context_settings_.position};
  }

  std::shared_ptr<const ClipModel> model_;
  ContextSettings context_settings_;
  OptimSettings optim_settings_;
  Tensor context_;  // [M, width] or [C, M, width]
  ContextPrompts prompts_;
  Tensor class_features_;  // [C, d], of the current context; undefined after it changed
};

std::vector<std::unique_ptr<Stage>> CoOp::stages(const TrainingData&) {
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(make_descent_stage(
      {"coop",
       optim_settings_,
       {{{{"context", context_}}}},
       [this](const Batch& batch, std::int64_t) {
         return cross_entropy(cosine_logits(batch.image_features, class_features(), model_->logit_scale), batch.labels);
       },
       [this] { class_features_.reset(); }}));
  return stages;
}

}  // namespace

Method coop_method() {
  Schema schema = ContextSettings::schema();
  for (Key& key : OptimSettings::schema()) schema.push_back(std::move(key));
  return {"coop", "CoOp: learns the context words around the class names (Zhou et al. 2022)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<CoOp>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

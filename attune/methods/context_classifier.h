#pragma once

#include <memory>
#include <string>

#include "attune/methods/context.h"
#include "attune/methods/descent_stage.h"

namespace attune {

/// What CoOp and the methods that train its context otherwise have in common: text features of a learned context
/// around the class names classify.
class ContextClassifier : public Classifier {
 public:
  bool open_vocabulary() const override { return !settings_.class_specific; }
  /// Throws UsageError for another number of classes where each has a context of its own.
  void set_classes(const ClassNames& classes) override;
  Tensor logits(const Batch& batch) override;
  TensorMap state() const override { return {{"context", context_.detach()}}; }
  void load_state(const TensorMap& state) override;

 protected:
  /// `method` is named in errors. `start` [M, width], or [C, M, width] where it is class-specific, is learned.
  ContextClassifier(std::string method, std::shared_ptr<const ClipModel> model, const ClassNames& classes,
                    const ContextSettings& settings, Tensor start);

  /// [C, d] with gradients to the context.
  Tensor class_features() const { return model_->text->encode(prompts_(context_)).squeeze(0); }
  /// The stage that trains the context, named as the method.
  std::unique_ptr<Stage> context_stage(const OptimSettings& settings,
                                       std::function<Objective(const Batch&, std::int64_t)> objective);

  const std::string method_;
  const std::shared_ptr<const ClipModel> model_;
  const Tensor context_;

 private:
  ContextPrompts make_prompts(const ClassNames& classes) const {
    return {*model_, classes, context_.size(-2), settings_.class_specific, settings_.position};
  }

  ContextSettings settings_;
  ContextPrompts prompts_;
  Tensor class_features_;  // [C, d], of the current context; undefined after it changed
};

}  // namespace attune

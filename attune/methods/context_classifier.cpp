#include "attune/methods/context_classifier.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

ContextClassifier::ContextClassifier(std::string method, std::shared_ptr<const ClipModel> model,
                                     const ClassNames& classes, const ContextSettings& settings, Tensor start)
    : method_(std::move(method)),
      model_(std::move(model)),
      context_(std::move(start).requires_grad_(true)),
      settings_(settings),
      prompts_(make_prompts(classes)) {}

void ContextClassifier::set_classes(const ClassNames& classes) {
  if (!open_vocabulary() && static_cast<std::int64_t>(classes.names.size()) != context_.size(0)) {
    throw UsageError(
        fmt::format("{}: a class-specific context knows only the classes it was trained on; train a shared one "
                    "(context.class_specific=false) to name new classes",
                    method_));
  }
  prompts_ = make_prompts(classes);
  class_features_.reset();
}

Tensor ContextClassifier::logits(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  if (!class_features_.defined()) class_features_ = class_features();
  return cosine_logits(batch.image_features, class_features_, model_->logit_scale);
}

void ContextClassifier::load_state(const TensorMap& state) {
  copy_state(state, this->state(), method_);
  class_features_.reset();
}

std::unique_ptr<Stage> ContextClassifier::context_stage(
    const OptimSettings& settings, std::function<Objective(const Batch&, std::int64_t)> objective) {
  DescentWork work{
      method_, settings, {{{{"context", context_}}}}, std::move(objective), [this] { class_features_.reset(); }};
  work.contexts = 1;
  return make_descent_stage(std::move(work));
}

}  // namespace attune

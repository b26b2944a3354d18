#include "attune/methods/cocoop.h"

#include <utility>

#include "attune/base/error.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/generated_prompts.h"
#include "attune/methods/image_contexts.h"
#include "attune/methods/network.h"

namespace attune {
namespace {

class CoCoOp final : public Classifier, public GeneratesPrompts {
 public:
  CoCoOp(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : model_(std::move(model)),
        optim_settings_(config),
        context_(initial_context(*model_, context_settings(config), 1, seed)),
        prompts_(make_prompts(classes)) {
    const std::int64_t joint = model_->config.joint_width, hidden = std::max<std::int64_t>(1, joint / 16);
    const std::int64_t width = context_.size(1);
    KeyedRandom random(seed, "cocoop.meta_net");
    weight1_ = linear_start({hidden, joint}, joint, random).to(context_.device());
    bias1_ = linear_start({hidden}, joint, random).to(context_.device());
    weight2_ = linear_start({width, hidden}, hidden, random).to(context_.device());
    bias2_ = linear_start({width}, hidden, random).to(context_.device());
    for (const auto& [name, tensor] : learned()) tensor.requires_grad_(true);
  }

  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override { prompts_ = make_prompts(classes); }

  Tensor logits(const Batch& batch) override {
    return logits_by_image(*model_, prompts_, batch.image_features,
                           [this](const Tensor& features) { return contexts_of(features); });
  }

  Tensor generated_prompts(const Batch& batch, std::int64_t draws) override {
    const at::NoGradGuard no_gradients;
    return contexts_of(batch.image_features.to(context_.device())).unsqueeze(1).repeat({1, draws, 1, 1});
  }
  TensorMap generator_state() const override { return state(); }

  TensorMap state() const override { return detached(learned()); }
  void load_state(const TensorMap& state) override { copy_state(state, this->state(), "cocoop"); }

  std::vector<std::unique_ptr<Stage>> stages(const TrainingData&) override {
    std::vector<std::unique_ptr<Stage>> stages;
    const auto objective = [this](const Batch& batch, std::int64_t) {
      return cross_entropy(training_logits(batch), batch.labels);
    };
    DescentWork work{"cocoop", optim_settings_, {{parameters_of(learned())}}, objective};
    work.contexts = optim_settings_.batch_size;
    stages.push_back(make_descent_stage(std::move(work)));
    return stages;
  }

 private:
  static ContextSettings context_settings(const Config& config) {
    ContextSettings settings(config);
    if (settings.class_specific || settings.position != NamePosition::kEnd) {
      throw UsageError(
          "cocoop: the context is shared and stands before the name; leave context.class_specific and "
          "context.position as they are");
    }
    return settings;
  }

  ContextPrompts make_prompts(const ClassNames& classes) const {
    return {*model_, classes, context_.size(0), false, NamePosition::kEnd};
  }

  TensorMap learned() const {
    return {{"context", context_},
            {"meta_net.linear1.weight", weight1_},
            {"meta_net.linear1.bias", bias1_},
            {"meta_net.linear2.weight", weight2_},
            {"meta_net.linear2.bias", bias2_}};
  }

  /// Contexts [B, M, width] of features [B, d].
  Tensor contexts_of(const Tensor& features) const {
    const Tensor hidden = at::relu(at::linear(normalise_rows(features), weight1_, bias1_));
    return context_ + at::linear(hidden, weight2_, bias2_).unsqueeze(1);
  }

  Tensor training_logits(const Batch& batch) const {
    return cosine_logits_per_image(batch.image_features,
                                   model_->text->encode(prompts_.of_each(contexts_of(batch.image_features))),
                                   model_->logit_scale);
  }

  std::shared_ptr<const ClipModel> model_;
  OptimSettings optim_settings_;
  Tensor context_;  // [M, width]
  Tensor weight1_, bias1_, weight2_, bias2_;
  ContextPrompts prompts_;
};

}  // namespace

Method cocoop_method() {
  Schema schema = ContextSettings::schema("a photo of a");
  for (Key& key : OptimSettings::schema({{"epochs", 10}, {"batch_size", 1}})) schema.push_back(std::move(key));
  return {"cocoop", "CoCoOp: a context that depends on the image (Zhou et al. 2022)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<CoCoOp>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

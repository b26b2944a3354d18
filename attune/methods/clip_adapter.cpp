#include "attune/methods/clip_adapter.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/hand_features.h"
#include "attune/methods/network.h"

namespace attune {
namespace {

class ClipAdapter final : public Classifier {
 public:
  ClipAdapter(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
              std::uint64_t seed)
      : model_(std::move(model)),
        templates_(config.text("templates")),
        ratio_(config.number("clip_adapter.ratio")),
        optim_settings_(config) {
    const std::int64_t width = model_->config.joint_width, reduction = config.integer("clip_adapter.reduction");
    if (!(ratio_ >= 0 && ratio_ <= 1)) {
      throw UsageError(fmt::format("clip_adapter.ratio: expected 0 to 1, found {}", ratio_));
    }
    if (reduction < 1 || reduction > width) {
      throw UsageError(fmt::format("clip_adapter.reduction: expected 1 to {}, found {}", width, reduction));
    }
    const std::int64_t hidden = width / reduction;
    KeyedRandom random(seed, "clip_adapter");
    down_ = linear_start({hidden, width}, width, random).to(model_->device).requires_grad_(true);
    up_ = linear_start({width, hidden}, hidden, random).to(model_->device).requires_grad_(true);
    set_classes(classes);
  }

  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override { text_ = hand_features(*model_, classes, templates_); }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return adapted_logits(batch);
  }

  TensorMap state() const override { return {{"down", down_.detach()}, {"up", up_.detach()}}; }
  void load_state(const TensorMap& state) override { copy_state(state, this->state(), "clip_adapter"); }

  Stages stages(const TrainingData&) override {
    Stages stages;
    stages.push_back(make_descent_stage(
        {"clip_adapter", optim_settings_, {{{{"down", down_}, {"up", up_}}}}, [this](const Batch& batch, std::int64_t) {
           return cross_entropy(adapted_logits(batch), batch.labels);
         }}));
    return stages;
  }

 private:
  Tensor adapted_logits(const Batch& batch) const {
    const Tensor features = batch.image_features.to(down_.device());
    const Tensor learned = at::relu(at::linear(at::relu(at::linear(features, down_)), up_));
    return cosine_logits(ratio_ * learned + (1 - ratio_) * features, text_, model_->logit_scale);
  }

  std::shared_ptr<const ClipModel> model_;
  std::string templates_;
  double ratio_;
  OptimSettings optim_settings_;
  Tensor down_, up_;  // [hidden, d], [d, hidden]
  Tensor text_;       // [C, d]
};

}  // namespace

Method clip_adapter_method() {
  Schema schema = {
      {"clip_adapter.ratio", 0.2, "share of the adapted feature beside the frozen one"},
      {"clip_adapter.reduction", 4, "how much narrower the bottleneck is than the feature"},
      templates_key(),
  };
  for (Key& key : OptimSettings::schema()) schema.push_back(std::move(key));
  return {"clip_adapter", "CLIP-Adapter: a small network on the image feature (Gao et al. 2021)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<ClipAdapter>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

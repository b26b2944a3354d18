#include "attune/methods/zero_shot.h"

#include <utility>

#include "attune/methods/hand_features.h"

namespace attune {
namespace {

class ZeroShot final : public Classifier {
 public:
  ZeroShot(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config)
      : model_(std::move(model)), templates_(config.text("templates")) {
    set_classes(classes);
  }

  bool open_vocabulary() const override { return true; }

  void set_classes(const ClassNames& classes) override {
    class_features_ = hand_features(*model_, classes, templates_);
  }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return cosine_logits(batch.image_features, class_features_, model_->logit_scale);
  }

  TensorMap state() const override { return {}; }
  void load_state(const TensorMap& state) override { copy_state(state, {}, "zero_shot"); }
  Stages stages(const TrainingData&) override { return {}; }

 private:
  std::shared_ptr<const ClipModel> model_;
  std::string templates_;
  Tensor class_features_;  // [C, d]
};

}  // namespace

Method zero_shot_method() {
  return {"zero_shot",
          "Zero-shot CLIP: hand-written templates, nothing is learned",
          {templates_key()},
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t)
              -> std::unique_ptr<Classifier> { return std::make_unique<ZeroShot>(std::move(model), classes, config); }};
}

}  // namespace attune

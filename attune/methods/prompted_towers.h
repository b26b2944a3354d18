#pragma once

#include <memory>
#include <string>

#include "attune/methods/descent_stage.h"
#include "attune/methods/registry.h"
#include "attune/methods/tower_prompts.h"

namespace attune {

/// A classifier whose learned tensors are tokens in the towers; it learns by cross-entropy unless a method after it
/// says more.
class PromptedTowers : public Classifier {
 public:
  PromptedTowers(std::shared_ptr<const ClipModel> model, const std::string& method, const TowerPromptSettings& settings,
                 const ClassNames& classes, const Config& config, std::uint64_t seed);

  Needs needs() const override { return {.features = !prompts_.sees_pixels(), .pixels = prompts_.sees_pixels()}; }
  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override;
  Tensor logits(const Batch& batch) override;
  TensorMap state() const override;
  void load_state(const TensorMap& state) override;
  Stages stages(const TrainingData& data) override;

 protected:
  /// The loss of a step; this one is cross-entropy.
  virtual Objective objective(const Batch& batch) const;
  /// [B, d], raw, under the learned tokens.
  Tensor image_features(const Batch& batch) const;
  void forget_classes() { class_features_.reset(); }

  const ClipModel& model() const { return *model_; }
  const TowerPrompts& prompts() const { return prompts_; }
  const OptimSettings& optim_settings() const { return optim_settings_; }
  const std::string& method() const { return method_; }

 private:
  std::shared_ptr<const ClipModel> model_;
  std::string method_;
  OptimSettings optim_settings_;
  TowerPrompts prompts_;
  Tensor class_features_;  // [C, d], of the current tokens; undefined after they changed
};

/// MaPLe (Khattak et al. 2023): prompts of both towers, the image tower's made of the text tower's.
Method maple_method();
/// VPT (Jia et al. 2022) on CLIP: tokens in the image tower alone.
Method vpt_method();
/// Independent vision-language prompting (Khattak et al. 2023, section 4): tokens in both towers, not coupled.
Method ivlp_method();
/// Deep language prompting (the same section): tokens in the text tower alone.
Method deep_text_method();

}  // namespace attune

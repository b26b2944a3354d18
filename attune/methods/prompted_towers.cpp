#include "attune/methods/prompted_towers.h"

#include <utility>

namespace attune {

PromptedTowers::PromptedTowers(std::shared_ptr<const ClipModel> model, const std::string& method,
                               const TowerPromptSettings& settings, const ClassNames& classes, const Config& config,
                               std::uint64_t seed)
    : model_(std::move(model)),
      method_(method),
      optim_settings_(config),
      prompts_(*model_, method, settings, classes, seed) {}

void PromptedTowers::set_classes(const ClassNames& classes) {
  prompts_.set_classes(classes);
  forget_classes();
}

Tensor PromptedTowers::image_features(const Batch& batch) const {
  return prompts_.sees_pixels() ? prompts_.image_features(batch.pixels) : batch.image_features;
}

Tensor PromptedTowers::logits(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  if (!class_features_.defined()) class_features_ = prompts_.class_features();
  return cosine_logits(image_features(batch), class_features_, model_->logit_scale);
}

TensorMap PromptedTowers::state() const {
  return detached(prompts_.learned());
}

void PromptedTowers::load_state(const TensorMap& state) {
  copy_state(state, this->state(), method_);
  forget_classes();
}

Objective PromptedTowers::objective(const Batch& batch) const {
  return cross_entropy(cosine_logits(image_features(batch), prompts_.class_features(), model_->logit_scale),
                       batch.labels);
}

Stages PromptedTowers::stages(const TrainingData&) {
  DescentWork work{method_,
                   optim_settings_,
                   {{parameters_of(prompts_.learned())}},
                   [this](const Batch& batch, std::int64_t) { return objective(batch); },
                   [this] { forget_classes(); }};
  work.contexts = prompts_.changes_text() ? 1 : 0;
  work.pictures = prompts_.sees_pixels() ? optim_settings_.batch_size : 0;
  Stages stages;
  stages.push_back(make_descent_stage(std::move(work)));
  return stages;
}

namespace {

Method prompted_method(const std::string& name, const std::string& meaning, const TowerPromptSettings& defaults,
                       const std::map<std::string, Json>& optim) {
  Schema schema = TowerPromptSettings::schema(defaults);
  for (Key& key : OptimSettings::schema(optim)) schema.push_back(std::move(key));
  return {name, meaning, std::move(schema),
          [name, defaults](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
                           std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<PromptedTowers>(std::move(model), name, TowerPromptSettings(config, defaults),
                                                    classes, config, seed);
          }};
}

TowerPromptSettings tokens(std::int64_t text, std::int64_t vision, std::int64_t depth) {
  TowerPromptSettings settings;
  settings.text_tokens = text;
  settings.vision_tokens = vision;
  settings.text_depth = settings.vision_depth = depth;
  return settings;
}

}  // namespace

Method maple_method() {
  TowerPromptSettings settings = tokens(2, 2, 9);
  settings.coupled = true;
  return prompted_method("maple",
                         "MaPLe: deep prompts of both towers, coupled from text to image (Khattak et al. 2023)",
                         settings, {{"epochs", 5}, {"batch_size", 4}, {"optim.lr", 0.0035}});
}

Method vpt_method() {
  return prompted_method("vpt", "VPT: learned tokens in the image tower (Jia et al. 2022)", tokens(0, 8, 12),
                         {{"epochs", 5}, {"batch_size", 4}, {"optim.lr", 0.0025}});
}

Method ivlp_method() {
  return prompted_method("ivlp", "Independent deep prompts of both towers (Khattak et al. 2023)", tokens(2, 2, 12),
                         {{"epochs", 5}, {"batch_size", 4}, {"optim.lr", 0.0035}});
}

Method deep_text_method() {
  return prompted_method("deep_text", "Deep prompts of the text tower (Khattak et al. 2023)", tokens(4, 0, 12),
                         {{"epochs", 5}, {"batch_size", 4}, {"optim.lr", 0.0025}});
}

}  // namespace attune

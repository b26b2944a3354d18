#include "attune/methods/zero_shot.h"

#include <utility>

#include "attune/text/templates.h"

namespace attune {
namespace {

/// One template, the data set's own, or an ensemble with the data set's own appended where it has one (CoOp's rule).
std::vector<std::string> choose_templates(const std::string& choice, const std::string& own) {
  if (choice.find("{}") != std::string::npos) return {choice};
  if (choice == "single") return {own};
  std::vector<std::string> templates = template_ensemble(choice);
  if (own != kDefaultTemplate) templates.push_back(own);
  return templates;
}

class ZeroShot final : public Classifier {
 public:
  ZeroShot(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config)
      : model_(std::move(model)), templates_(config.text("templates")) {
    set_classes(classes);
  }

  bool open_vocabulary() const override { return true; }

  void set_classes(const ClassNames& classes) override {
    const std::vector<std::string> templates = choose_templates(templates_, classes.prompt_template);
    std::vector<std::string> sentences;
    for (const std::string& name : classes.names) {
      for (const std::string& one : templates) sentences.push_back(fill(one, name));
    }
    const auto per_class = static_cast<std::int64_t>(templates.size());
    class_features_ = encode_sentences(*model_, sentences).view({-1, per_class, model_->config.joint_width}).mean(1);
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
          {{"templates", "single",
            "single (the data set's own), best7, all80 (ImageNet's ensembles with the data set's own), or a template "
            "with {} in the place of the name"}},
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t)
              -> std::unique_ptr<Classifier> { return std::make_unique<ZeroShot>(std::move(model), classes, config); }};
}

}  // namespace attune

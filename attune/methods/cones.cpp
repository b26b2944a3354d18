#include "attune/methods/cones.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/hand_features.h"

namespace attune {
namespace {

/// Where the search begins [C, d], rows of about unit length.
Tensor start_of(const ClipModel& model, const ClassNames& classes, const Config& config, std::uint64_t seed) {
  const std::string start = config.text("cones.start"), concept_name = config.text("cones.concept");
  const auto count = static_cast<std::int64_t>(classes.names.size()), width = model.config.joint_width;
  if (start == "random") {
    KeyedRandom random(seed, "cones");
    return normalise_rows(normal({count, width}, 0, 1, random)).to(model.device);
  }
  if (start == "text") return hand_features(model, classes, config.text("templates"));
  if (start != "concept") {
    throw UsageError(fmt::format("cones.start: expected text, concept or random, found \"{}\"", start));
  }
  if (concept_name.empty()) throw UsageError("cones.concept: expected a name to start from, found none");
  const ClassNames one{{concept_name}, classes.prompt_template};
  return hand_features(model, one, config.text("templates")).repeat({count, 1});
}

class Cones final : public Classifier {
 public:
  Cones(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : model_(std::move(model)),
        classes_(classes.names),
        optim_settings_(config),
        embeddings_(start_of(*model_, classes, config, seed).detach().clone().requires_grad_(true)) {}

  bool open_vocabulary() const override { return false; }
  void set_classes(const ClassNames& classes) override { expect_trained_classes("cones", classes_, classes); }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return searched_logits(batch);
  }

  TensorMap state() const override { return {{"embeddings", embeddings_.detach()}}; }
  void load_state(const TensorMap& state) override { copy_state(state, this->state(), "cones"); }

  Stages stages(const TrainingData&) override {
    Stages stages;
    stages.push_back(make_descent_stage(
        {"cones", optim_settings_, {{{{"embeddings", embeddings_}}}}, [this](const Batch& batch, std::int64_t) {
           return cross_entropy(searched_logits(batch), batch.labels);
         }}));
    return stages;
  }

 private:
  Tensor searched_logits(const Batch& batch) const {
    return cosine_logits(batch.image_features, embeddings_, model_->logit_scale);
  }

  std::shared_ptr<const ClipModel> model_;
  std::vector<std::string> classes_;
  OptimSettings optim_settings_;
  Tensor embeddings_;  // [C, d]
};

}  // namespace

Method cones_method() {
  Schema schema = {
      {"cones.start", "text", "where the search begins: text (the class names), concept (one name for all) or random"},
      {"cones.concept", "", "the name that all classes begin with, for cones.start=concept"},
      templates_key(),
  };
  for (Key& key : OptimSettings::schema({{"optim.name", "adamw"}, {"optim.lr", 0.001}, {"optim.weight_decay", 0.0}})) {
    schema.push_back(std::move(key));
  }
  return {"cones", "ConES: searched class embeddings in the place of the text tower's (for classification: inferred)",
          std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<Cones>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

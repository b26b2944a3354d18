#include "attune/methods/dpspg.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/domain_prompts.h"
#include "attune/methods/generated_prompts.h"
#include "attune/methods/image_contexts.h"
#include "attune/methods/prompt_encoder.h"

namespace attune {
namespace {

constexpr std::int64_t kMostHidden = 1 << 14;

OptimSettings label_settings(const Config& config) {
  Config own(OptimSettings::schema());
  own.set("batch_size", config.value("batch_size"), "batch_size");
  own.set("epochs", config.value("labels.epochs"), "labels.epochs");
  own.set("optim.name", config.value("labels.optim"), "labels.optim");
  for (const char* key : {"lr", "weight_decay", "warmup_epochs"}) {
    const std::string given = fmt::format("labels.{}", key);
    own.set(fmt::format("optim.{}", key), config.value(given), given);
  }
  return OptimSettings(own);
}

Tensor words(const ClipModel& model, const Config& config, const char* key) {
  const std::string text = config.text(key);
  if (text.empty()) throw UsageError(fmt::format("{}: expected words, found none", key));
  const at::NoGradGuard no_gradients;
  return model.text->embed(at::tensor(model.tokenizer->encode(text), at::kLong)).contiguous();
}

/// One of the two paths: its words, its domains' prompts and its generator.
class Path {
 public:
  Path(std::string name, const ClipModel& model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : name_(std::move(name)),
        labels_(words(model, config, ("context." + name_).c_str())),
        prompts_(make_prompts(model, classes)),
        generator_(make_generator(model, config.integer("dpspg.hidden", 1, kMostHidden), seed)) {}

  const std::string& name() const { return name_; }
  DomainPrompts& labels() { return labels_; }
  const DomainPrompts& labels() const { return labels_; }
  const PromptEncoder& generator() const { return generator_; }
  void set_classes(const ClipModel& model, const ClassNames& classes) { prompts_ = make_prompts(model, classes); }

  /// [B, C] under the prompt [M, width] of a domain.
  Tensor label_logits(const ClipModel& model, const Batch& batch, const Tensor& label) const {
    return cosine_logits(batch.image_features.to(label.device()), model.text->encode(prompts_(label)).squeeze(0),
                         model.logit_scale);
  }
  /// [B, C] under the prompts that the generator makes.
  Tensor generated_logits(const ClipModel& model, const Batch& batch) const {
    return logits_by_image(model, prompts_, batch.image_features,
                           [this](const Tensor& features) { return generator_(normalise_rows(features)); });
  }

  TensorMap state() const {
    TensorMap state;
    add_state(state, "generator.", detached(generator_.parameters()));
    add_state(state, "labels.", labels_.state());
    return state;
  }

 private:
  ContextPrompts make_prompts(const ClipModel& model, const ClassNames& classes) const {
    return {model, classes, labels_.start().size(0), false, NamePosition::kEnd};
  }
  PromptEncoder make_generator(const ClipModel& model, std::int64_t hidden, std::uint64_t seed) const {
    KeyedRandom random(seed, "dpspg." + name_);
    const Tensor& start = labels_.start();
    return {model.config.joint_width, hidden, start.size(0), start.size(1), random, start.device()};
  }

  std::string name_;
  DomainPrompts labels_;
  ContextPrompts prompts_;
  PromptEncoder generator_;
};

class Dpspg final : public Classifier, public GeneratesPrompts {
 public:
  Dpspg(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : model_(std::move(model)),
        alpha_(config.number("dpspg.alpha")),
        dropout_(config.number("dpspg.dropout")),
        label_settings_(label_settings(config)),
        generator_settings_(config),
        positive_("positive", *model_, classes, config, seed),
        negative_("negative", *model_, classes, config, seed) {
    if (!(dropout_ >= 0 && dropout_ < 1)) {
      throw UsageError(fmt::format("dpspg.dropout: expected at least 0 and below 1, found {}", dropout_));
    }
  }

  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override {
    for (Path* path : {&positive_, &negative_}) path->set_classes(*model_, classes);
  }

  Tensor logits(const Batch& batch) override {
    return positive_.generated_logits(*model_, batch) - alpha_ * negative_.generated_logits(*model_, batch);
  }

  /// The positive ones.
  Tensor generated_prompts(const Batch& batch, std::int64_t draws) override {
    const at::NoGradGuard no_gradients;
    const Tensor features = batch.image_features.to(model_->device);
    return positive_.generator()(normalise_rows(features)).unsqueeze(1).repeat({1, draws, 1, 1});
  }
  TensorMap generator_state() const override {
    TensorMap state;
    for (const Path* path : {&positive_, &negative_}) {
      add_state(state, path->name() + ".", path->generator().parameters());
    }
    return state;
  }

  TensorMap state() const override {
    TensorMap state;
    for (const Path* path : {&positive_, &negative_}) add_state(state, path->name() + ".", path->state());
    return state;
  }
  void load_state(const TensorMap& state) override {
    // Which domains there are is the state's to say; those that are known already must be in it.
    for (Path* path : {&positive_, &negative_}) {
      for (const auto& [domain, value] : part_of_state(state, path->name() + ".labels.")) path->labels().of(domain);
    }
    copy_state(state, this->state(), "dpspg");
  }

  Stages stages(const TrainingData& data) override {
    Stages stages;
    for (const SourceDomain& domain : source_domains(data)) stages.push_back(label_stage(domain));
    stages.push_back(generator_stage(data));
    return stages;
  }

 private:
  std::unique_ptr<Stage> label_stage(const SourceDomain& domain);
  std::unique_ptr<Stage> generator_stage(const TrainingData& data);

  std::shared_ptr<const ClipModel> model_;
  double alpha_, dropout_;
  OptimSettings label_settings_, generator_settings_;
  Path positive_, negative_;
};

/// Every answer but the right one is a positive of the negative prompt; the weight makes up for their number, as in the
/// release.
Tensor negative_loss(const Tensor& logits, const Tensor& labels) {
  const Tensor wrong = at::ones_like(logits).scatter(1, labels.to(logits.device()).unsqueeze(1), 0.0);
  const Tensor weight = at::full({1}, static_cast<double>(logits.size(1) - 1), logits.options().requires_grad(false));
  return at::binary_cross_entropy_with_logits(logits, wrong.detach(), {}, weight);
}

std::unique_ptr<Stage> Dpspg::label_stage(const SourceDomain& domain) {
  const Tensor positive = positive_.labels().of(domain.name), negative = negative_.labels().of(domain.name);
  const auto objective = [this, positive, negative](const Batch& batch, std::int64_t) {
    const Tensor right = positive_.label_logits(*model_, batch, positive);
    const Tensor wrong = negative_.label_logits(*model_, batch, negative);
    const Tensor first = cross_entropy(right, batch.labels).loss, second = negative_loss(wrong, batch.labels);
    Objective objective{first + second, right - wrong};
    objective.terms = {{"positive_loss", first.item<double>()}, {"negative_loss", second.item<double>()}};
    return objective;
  };
  const auto judged_by = [this, positive, negative](const Batch& batch) {
    return positive_.label_logits(*model_, batch, positive) - negative_.label_logits(*model_, batch, negative);
  };
  DescentWork work{
      "label " + domain.name, label_settings_, {{{{"positive", positive}, {"negative", negative}}}}, objective, [] {},
      domain.index,           judged_by};
  work.contexts = 2;
  return make_descent_stage(std::move(work));
}

std::unique_ptr<Stage> Dpspg::generator_stage(const TrainingData& data) {
  ParameterGroup group;
  for (const Path* path : {&positive_, &negative_}) {
    for (const auto& [name, tensor] : path->generator().parameters()) {
      group.parameters.push_back({path->name() + "." + name, tensor});
    }
  }
  const auto objective = [this, data](const Batch& batch, std::int64_t step) {
    Objective objective;
    for (const Path* path : {&positive_, &negative_}) {
      const Tensor labels = path->labels().of(batch, data.domains);
      KeyedRandom random(data.seed, "dpspg.dropout of " + path->name(), static_cast<std::uint64_t>(step));
      const Tensor made =
          path->generator()(normalise_rows(batch.image_features.to(labels.device())), dropout_, &random);
      const Tensor loss = at::mse_loss(made, labels);
      objective.terms.emplace_back(path->name() + "_loss", loss.item<double>());
      objective.loss = objective.loss.defined() ? objective.loss + loss : loss;
    }
    return objective;
  };
  return make_descent_stage({"generators", generator_settings_, {group}, objective});
}

}  // namespace

Method dpspg_method() {
  Schema schema = {
      {"context.positive", "a photo of a", "words that the positive prompts start from"},
      {"context.negative", "a photo without a", "words that the negative prompts start from"},
      {"dpspg.alpha", 0.2, "weight of the negative prompt's answer"},
      {"dpspg.hidden", 2048, "width of the generators' hidden layers"},
      {"dpspg.dropout", 0.1, "of the generators"},
      {"labels.epochs", 70, "of learning a domain's prompts"},
      {"labels.optim", "sgd", "sgd, adam or adamw"},
      {"labels.lr", 0.002, "learning rate of the domains' prompts"},
      {"labels.weight_decay", 1e-4, "of the domains' prompts"},
      {"labels.warmup_epochs", 4, "of the domains' prompts, at 1e-5"},
  };
  for (Key& key : OptimSettings::schema({{"optim.name", "adamw"},
                                         {"optim.weight_decay", 1e-4},
                                         {"optim.warmup", "linear"},
                                         {"optim.warmup_epochs", 4}})) {
    schema.push_back(std::move(key));
  }
  return {"dpspg", "DPSPG: positive and negative prompts made of the picture (Zhang et al. 2025)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<Dpspg>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

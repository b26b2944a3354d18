#include "attune/methods/prograd.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/context_classifier.h"
#include "attune/methods/hand_features.h"

namespace attune {
namespace {

ContextSettings context_settings(const Config& config) {
  Config own(ContextSettings::schema());
  for (const char* key : {"context.length", "context.position"}) own.set(key, config.value(key), key);
  return ContextSettings(own);
}

/// [M, width]: zeros, then the embeddings of the words.
Tensor start(const ClipModel& model, const ContextSettings& settings, const std::string& given,
             const std::string& prompt_template) {
  const std::string words = given.empty() ? prompt_template.substr(0, prompt_template.find("{}")) : given;
  const std::vector<std::int64_t> tokens = model.tokenizer->encode(words);
  if (tokens.empty()) {
    throw UsageError(
        fmt::format("context.init: expected words, since the data set's template \"{}\" has none before the name",
                    prompt_template));
  }
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count > settings.length) {
    throw UsageError(fmt::format("context.length: expected at least the {} tokens of \"{}\", found {}", count, words,
                                 settings.length));
  }
  const at::NoGradGuard no_gradients;
  const Tensor embedded = model.text->embed(at::tensor(tokens, at::kLong));
  return at::cat({at::zeros({settings.length - count, embedded.size(1)}, embedded.options()), embedded});
}

class ProGrad final : public ContextClassifier {
 public:
  ProGrad(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const ContextSettings& settings,
          const Config& config)
      : ContextClassifier("prograd", model, classes, settings,
                          start(*model, settings, config.text("context.init"), classes.prompt_template)),
        trained_classes_(classes),
        templates_(config.text("templates")),
        lambda_(config.number("prograd.lambda")),
        temperature_(config.number("prograd.temperature")),
        optim_settings_(config) {
    if (!(lambda_ >= 0)) throw UsageError(fmt::format("prograd.lambda: expected at least 0, found {}", lambda_));
    if (!(temperature_ > 0)) {
      throw UsageError(fmt::format("prograd.temperature: expected a positive number, found {}", temperature_));
    }
  }

  Stages stages(const TrainingData&) override {
    const Tensor hand = hand_features(*model_, trained_classes_, templates_);
    Stages stages;
    stages.push_back(context_stage(optim_settings_,
                                   [this, hand](const Batch& batch, std::int64_t) { return objective(batch, hand); }));
    return stages;
  }

 private:
  Objective objective(const Batch& batch, const Tensor& hand) const {
    const double scale = model_->logit_scale;
    Objective objective = cross_entropy(cosine_logits(batch.image_features, class_features(), scale), batch.labels);
    const Tensor teacher = cosine_logits(batch.image_features, hand, scale) / temperature_;
    const Tensor divergence = at::kl_div(at::log_softmax(objective.logits / temperature_, 1),
                                         at::log_softmax(teacher, 1), at::Reduction::Sum, /*log_target=*/true) *
                              (temperature_ * temperature_ / static_cast<double>(batch.size()));
    objective.terms = {{"divergence", divergence.item<double>()}};
    objective.backward = [this, loss = objective.loss, divergence] {
      divergence.backward({}, /*retain_graph=*/true);
      const Tensor general = context_.grad().clone();
      context_.mutable_grad().zero_();
      loss.backward();
      context_.mutable_grad() = aligned_gradient(context_.grad(), general, lambda_);
    };
    return objective;
  }

  ClassNames trained_classes_;
  std::string templates_;
  double lambda_, temperature_;
  OptimSettings optim_settings_;
};

}  // namespace

Tensor aligned_gradient(const Tensor& own, const Tensor& general, double lambda) {
  const double length = general.norm().item<double>();
  const double along = length > 0 ? (own * general).sum().item<double>() / length : 0.0;
  return along < 0 ? own - general * (lambda * along / length) : own;
}

Method prograd_method() {
  Schema schema = {
      {"context.length", 16, "learnable context tokens", {"TRAINER.COOP.N_CTX", "context"}},
      {"context.init", "",
       "words right before the name at the start, behind zeros; empty: those of the data set's template"},
      {"context.position",
       "end",
       "where the class name stands: end, middle, front",
       {"TRAINER.COOP.CLASS_TOKEN_POSITION"}},
      {"prograd.lambda", 1.0, "how much of what conflicts with the sentences is taken out", {"LOSS.LAMBDA"}},
      {"prograd.temperature", 1.0, "of the divergence", {"LOSS.T"}},
      templates_key(),
  };
  for (Key& key : OptimSettings::schema({{"epochs", 100}})) schema.push_back(std::move(key));
  return {"prograd", "ProGrad: CoOp that never moves against hand-written sentences (Zhu et al. 2023)",
          std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t) -> std::unique_ptr<Classifier> {
            return std::make_unique<ProGrad>(std::move(model), classes, context_settings(config), config);
          }};
}

}  // namespace attune

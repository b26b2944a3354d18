#include "attune/methods/dpl.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/generated_prompts.h"
#include "attune/methods/image_contexts.h"
#include "attune/methods/network.h"

namespace attune {
namespace {

constexpr std::int64_t kMostDplTokens = 1000, kMostWidth = 1 << 12;
constexpr double kStartBias = 0.01;

enum class DomainContext { kImage, kBatch, kTraining };

struct DplSettings {
  std::int64_t tokens, width;
  double dropout;
  bool joint_columns;
  DomainContext context;

  explicit DplSettings(const Config& config)
      : tokens(config.integer("dpl.tokens", 1, kMostDplTokens)),
        width(config.integer("dpl.width", 1, kMostWidth)),
        dropout(config.number("dpl.dropout")),
        joint_columns(config.flag("dpl.joint_columns")),
        context(context_named(config.text("dpl.context"))) {
    if (!(dropout >= 0 && dropout < 1)) {
      throw UsageError(fmt::format("dpl.dropout: expected at least 0 and below 1, found {}", dropout));
    }
  }

  static DomainContext context_named(const std::string& name) {
    if (name == "image") return DomainContext::kImage;
    if (name == "batch") return DomainContext::kBatch;
    if (name == "training") return DomainContext::kTraining;
    throw UsageError(fmt::format("dpl.context: expected image, batch or training, found \"{}\"", name));
  }
};

/// Rows of a batch that belong to the same domain, in the order of the domains; all rows where there are none.
std::vector<Tensor> rows_by_domain(const Batch& batch) {
  if (!batch.domains.defined()) return {at::arange(batch.size(), at::kLong)};
  std::map<std::int64_t, std::vector<std::int64_t>> rows;
  for (std::int64_t i = 0; i < batch.size(); ++i) rows[batch.domains[i].item<std::int64_t>()].push_back(i);
  std::vector<Tensor> groups;
  for (const auto& [domain, members] : rows) groups.push_back(at::tensor(members, at::kLong));
  return groups;
}

class Dpl final : public Classifier, public GeneratesPrompts {
 public:
  Dpl(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : model_(std::move(model)), settings_(config), optim_settings_(config), prompts_(make_prompts(classes)) {
    const std::int64_t sizes[] = {model_->config.joint_width, settings_.width, settings_.width,
                                  settings_.tokens * model_->config.text.width};
    KeyedRandom random(seed, "dpl");
    for (int layer = 0; layer < 3; ++layer) {
      weights_[layer] = xavier_start(sizes[layer + 1], sizes[layer], random).to(model_->device).requires_grad_(true);
      biases_[layer] = at::full({sizes[layer + 1]}, kStartBias, at::device(model_->device)).requires_grad_(true);
    }
    if (settings_.context == DomainContext::kTraining) {
      training_context_ = at::zeros({settings_.tokens, model_->config.text.width}, at::device(model_->device));
    }
  }

  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override {
    prompts_ = make_prompts(classes);
    class_features_.reset();
  }

  Tensor logits(const Batch& batch) override;

  /// The pictures' own contexts, also where predictions are made with a mean of them.
  Tensor generated_prompts(const Batch& batch, std::int64_t draws) override {
    const at::NoGradGuard no_gradients;
    return contexts_of(batch.image_features).unsqueeze(1).repeat({1, draws, 1, 1});
  }
  TensorMap generator_state() const override { return learned(); }

  TensorMap state() const override {
    TensorMap state = detached(learned());
    if (training_context_.defined()) state["training_context"] = training_context_;
    return state;
  }
  void load_state(const TensorMap& state) override {
    copy_state(state, this->state(), "dpl");
    class_features_.reset();
  }

  Stages stages(const TrainingData& data) override;

 private:
  friend class TrainingContextStage;

  ContextPrompts make_prompts(const ClassNames& classes) const {
    return {*model_, classes, settings_.tokens, false, NamePosition::kEnd};
  }

  TensorMap learned() const {
    static const char* const kNames[] = {"input", "hidden", "output"};
    TensorMap learned;
    for (int layer = 0; layer < 3; ++layer) {
      learned[fmt::format("{}.weight", kNames[layer])] = weights_[layer];
      learned[fmt::format("{}.bias", kNames[layer])] = biases_[layer];
    }
    return learned;
  }

  /// Contexts [B, M, width] of raw features [B, d]; `masks` [2, B, hidden] of the dropout, undefined in prediction.
  Tensor contexts_of(const Tensor& features, const Tensor& masks = {}) const {
    Tensor x = features.to(weights_[0].device());
    for (int layer = 0; layer < 2; ++layer) {
      x = at::linear(x, weights_[layer], biases_[layer]);
      if (masks.defined()) x = x * masks[layer];
      x = at::relu(x);
    }
    return at::linear(x, weights_[2], biases_[2]).view({-1, settings_.tokens, model_->config.text.width});
  }

  /// Text features [K, C, d] of the groups' mean contexts.
  Tensor domain_features(const Tensor& contexts, const std::vector<Tensor>& groups) const {
    std::vector<Tensor> means;
    for (const Tensor& rows : groups) means.push_back(contexts.index_select(0, rows.to(contexts.device())).mean(0));
    return model_->text->encode(prompts_.of_each(at::stack(means)));
  }

  Objective objective(const Batch& batch, const Tensor& masks) const;
  Tensor batch_logits(const Batch& batch) const;

  std::shared_ptr<const ClipModel> model_;
  DplSettings settings_;
  OptimSettings optim_settings_;
  Tensor weights_[3], biases_[3];
  Tensor training_context_;  // [M, width]; undefined unless predictions are made with it
  ContextPrompts prompts_;
  Tensor class_features_;  // [C, d], of the training's context; undefined after it changed
};

/// After the training, one pass over its pictures for the mean of their contexts.
class TrainingContextStage final : public Stage {
 public:
  TrainingContextStage(Dpl& learner, std::int64_t samples) : learner_(learner), samples_(samples) {}

  std::string name() const override { return "training context"; }
  int epochs() const override { return 1; }
  std::int64_t batch_size() const override { return samples_; }
  void begin_epoch(int) override {}
  double learning_rate() const override { return 0.0; }
  TensorMap state() const override { return {}; }
  void load_state(const TensorMap& state) override { copy_state(state, {}, "dpl's training context"); }

  Losses step(BatchSource& batches) override {
    const at::NoGradGuard no_gradients;
    const Batch batch = batches.next();
    learner_.training_context_.copy_(learner_.contexts_of(batch.image_features).mean(0));
    learner_.class_features_.reset();
    const Objective found = cross_entropy(learner_.logits(batch), batch.labels);
    return {{"loss", found.loss.item<double>()}};
  }

 private:
  Dpl& learner_;
  std::int64_t samples_;
};

Objective Dpl::objective(const Batch& batch, const Tensor& masks) const {
  const std::vector<Tensor> groups = rows_by_domain(batch);
  const Tensor texts = domain_features(contexts_of(batch.image_features, masks), groups);  // [K, C, d]
  std::vector<Tensor> logits, labels;
  for (std::size_t k = 0; k < groups.size(); ++k) {
    const Tensor images = batch.image_features.index_select(0, groups[k]).to(texts.device());
    const Tensor against = settings_.joint_columns ? texts.flatten(0, 1) : texts[static_cast<std::int64_t>(k)];
    logits.push_back(cosine_logits(images, against, model_->logit_scale));
    labels.push_back(batch.labels.index_select(0, groups[k]));
  }
  const Tensor all = at::cat(logits);
  const Tensor answers = at::cat(labels);
  Objective objective = cross_entropy(all, answers);
  // Reported against the labels in the order of the batch, and of the first columns alone where there are several.
  Tensor ordered = at::empty({all.size(0), texts.size(1)}, all.options().requires_grad(false));
  objective.logits = ordered.index_copy_(0, at::cat(groups).to(all.device()), all.detach().narrow(1, 0, texts.size(1)));
  return objective;
}

/// With the mean context of the batch's pictures of a domain; the result depends on a picture's neighbours.
Tensor Dpl::batch_logits(const Batch& batch) const {
  const std::vector<Tensor> groups = rows_by_domain(batch);
  const Tensor texts = domain_features(contexts_of(batch.image_features), groups);
  Tensor logits = at::empty({batch.size(), texts.size(1)}, texts.options());
  for (std::size_t k = 0; k < groups.size(); ++k) {
    const Tensor images = batch.image_features.index_select(0, groups[k]).to(texts.device());
    logits.index_copy_(0, groups[k].to(texts.device()),
                       cosine_logits(images, texts[static_cast<std::int64_t>(k)], model_->logit_scale));
  }
  return logits;
}

Tensor Dpl::logits(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  if (settings_.context == DomainContext::kImage) {
    return logits_by_image(*model_, prompts_, batch.image_features,
                           [this](const Tensor& features) { return contexts_of(features); });
  }
  if (settings_.context == DomainContext::kBatch) return batch_logits(batch);
  if (!class_features_.defined()) class_features_ = model_->text->encode(prompts_(training_context_)).squeeze(0);
  return cosine_logits(batch.image_features, class_features_, model_->logit_scale);
}

Stages Dpl::stages(const TrainingData& data) {
  DescentWork work{
      "dpl",
      optim_settings_,
      {{parameters_of(learned())}},
      [this, seed = data.seed](const Batch& batch, std::int64_t step) {
        KeyedRandom random(seed, "dpl.dropout", static_cast<std::uint64_t>(step));
        return objective(
            batch,
            dropout_mask({2, batch.size(), settings_.width}, settings_.dropout, random).to(weights_[0].device()));
      }};
  work.contexts = std::max<std::int64_t>(1, std::ssize(data.domains));  // one a domain of the batch
  Stages stages;
  if (settings_.context == DomainContext::kTraining) {
    // There is no context of the training before its end.
    work.judged_by = [this](const Batch& batch) { return batch_logits(batch); };
    stages.push_back(make_descent_stage(std::move(work)));
    stages.push_back(std::make_unique<TrainingContextStage>(*this, std::max<std::int64_t>(1, data.samples)));
  } else {
    stages.push_back(make_descent_stage(std::move(work)));
  }
  return stages;
}

}  // namespace

Method dpl_method() {
  Schema schema = {
      {"dpl.tokens", 16, "tokens of a domain's context"},
      {"dpl.width", 512, "width of the network's two hidden layers"},
      {"dpl.dropout", 0.1, "in the hidden layers"},
      {"dpl.joint_columns", false,
       "as released, one classifier over the texts of all domains in the batch, with the first domain's as the right "
       "ones; false: each picture against the texts of its own domain"},
      {"dpl.context", "image",
       "in prediction: image (the picture's own context), batch (the mean over the pictures of a domain that come "
       "together, as published: answers depend on a picture's neighbours) or training (the mean over the training "
       "pictures)"},
  };
  for (Key& key : OptimSettings::schema({{"batch_size", 96},
                                         {"optim.lr", 1e-3},
                                         {"optim.momentum", 0.1},
                                         {"optim.weight_decay", 0.0},
                                         {"optim.schedule", "constant"},
                                         {"optim.warmup", "none"}})) {
    schema.push_back(std::move(key));
  }
  return {"dpl", "DPL: a context made of the pictures of a domain (Zhang et al. 2022)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<Dpl>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

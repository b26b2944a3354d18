#include "attune/methods/tip_adapter.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/log.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/hand_features.h"

namespace attune {
namespace {

constexpr int kBetaSteps = 200, kAlphaSteps = 20;
constexpr double kPublishedEpsilon = 1e-4;  // of AdamW

double positive(const Config& config, const char* key) {
  const double value = config.number(key);
  if (!(value > 0) || !std::isfinite(value)) {
    throw UsageError(fmt::format("{}: expected a positive number, found {}", key, value));
  }
  return value;
}

struct TipSettings {
  double alpha, beta, alpha_scale, beta_scale;
  bool search;
  int views;
  std::string templates;

  explicit TipSettings(const Config& config)
      : alpha(positive(config, "tip.alpha")),
        beta(positive(config, "tip.beta")),
        alpha_scale(positive(config, "tip.alpha_scale")),
        beta_scale(positive(config, "tip.beta_scale")),
        search(config.flag("tip.search")),
        views(static_cast<int>(config.integer("tip.views"))),
        templates(config.text("templates")) {
    if (views < 1) throw UsageError(fmt::format("tip.views: expected at least 1, found {}", views));
  }
};

double share_right(const Tensor& logits, const Tensor& labels) {
  return logits.argmax(1).eq(labels).to(at::kDouble).mean().item<double>();
}

class TipAdapter final : public Classifier {
 public:
  /// `training`: of the keys; null: they stay as they are.
  TipAdapter(std::string method, std::shared_ptr<const ClipModel> model, const ClassNames& classes,
             const TipSettings& settings, std::unique_ptr<OptimSettings> training)
      : method_(std::move(method)),
        model_(std::move(model)),
        classes_(classes.names),
        settings_(settings),
        training_(std::move(training)),
        text_(hand_features(*model_, classes, settings_.templates)),
        strength_(at::tensor({settings_.alpha, settings_.beta}, at::kDouble)) {
    make_cache(0);
  }

  bool open_vocabulary() const override { return false; }
  void set_classes(const ClassNames& classes) override { expect_trained_classes(method_, classes_, classes); }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    return cached_logits(batch.image_features, alpha(), beta());
  }

  TensorMap state() const override {
    return {{"keys", keys_.detach()}, {"labels", labels_}, {"alpha_beta", strength_}};
  }
  void load_state(const TensorMap& state) override;
  Stages stages(const TrainingData& data) override;

 private:
  friend class CacheStage;
  friend class SearchStage;

  double alpha() const { return strength_[0].item<double>(); }
  double beta() const { return strength_[1].item<double>(); }

  /// An empty cache of so many samples; stages and optimisers hold on to its tensors.
  void make_cache(std::int64_t samples) {
    keys_ = at::zeros({samples, model_->config.joint_width}, at::device(model_->device)).requires_grad_(true);
    labels_ = at::zeros({samples}, at::kLong);
  }

  Tensor cached_logits(const Tensor& features, double alpha, double beta) const {
    return cosine_logits(features, text_, model_->logit_scale) + alpha * cache_votes(affinity(features), beta);
  }
  /// <f, k> of features [B, d] and all keys: [B, n].
  Tensor affinity(const Tensor& features) const {
    return at::matmul(normalise_rows(features.to(keys_.device())), keys_.t());
  }
  /// exp(-beta (1 - affinity)), summed over the samples of every class: [B, C].
  Tensor cache_votes(const Tensor& affinity, double beta) const {
    const Tensor votes = at::zeros({affinity.size(0), text_.size(0)}, affinity.options().requires_grad(false));
    return votes.index_add(1, labels_.to(votes.device()), at::exp(-beta * (1 - affinity)));
  }

  /// The first pair of the best accuracy on `validation`, beta in the outer loop.
  Losses search(const Batch& validation);
  std::unique_ptr<Stage> learning(const TrainingData& data);

  std::string method_;
  std::shared_ptr<const ClipModel> model_;
  std::vector<std::string> classes_;
  TipSettings settings_;
  std::unique_ptr<OptimSettings> training_;
  Tensor text_;      // [C, d]
  Tensor keys_;      // [n, d]
  Tensor labels_;    // [n]
  Tensor strength_;  // [2] fp64: alpha, beta
};

/// Gathers the keys: an epoch is one view of every picture, in one batch. Its loss is the mean distance, one less the
/// cosine, of the view to the keys.
class CacheStage final : public Stage {
 public:
  CacheStage(TipAdapter& learner, std::int64_t samples)
      : learner_(learner), sum_(at::zeros({samples, learner.keys_.size(1)})) {}

  std::string name() const override { return "cache"; }
  int epochs() const override { return learner_.settings_.views; }
  std::int64_t batch_size() const override { return std::max<std::int64_t>(1, sum_.size(0)); }
  void begin_epoch(int) override {}
  double learning_rate() const override { return 0.0; }
  TensorMap state() const override { return {{"sum", sum_}}; }
  void load_state(const TensorMap& state) override { copy_state(state, this->state(), "tip_adapter's cache"); }

  Losses step(BatchSource& batches) override {
    const at::NoGradGuard no_gradients;
    const Batch batch = batches.next();
    const Tensor samples = at::tensor(batch.samples, at::kLong);
    sum_.index_add_(0, samples, batch.image_features.to(at::kCPU));
    learner_.labels_.index_copy_(0, samples, batch.labels);
    // The mean and the sum have the same direction.
    learner_.keys_.copy_(normalise_rows(sum_));
    const Tensor keys = learner_.keys_.index_select(0, samples.to(learner_.keys_.device()));
    const Tensor cosines = (normalise_rows(batch.image_features.to(keys.device())) * keys).sum(1);
    return {{"loss", 1 - cosines.mean().item<double>()}};
  }

 private:
  TipAdapter& learner_;
  Tensor sum_;  // [n, d], of the raw features in the views so far
};

/// Chooses alpha and beta; takes no training batch.
class SearchStage final : public Stage {
 public:
  SearchStage(TipAdapter& learner, std::int64_t samples, std::function<Batch()> validation)
      : learner_(learner), samples_(samples), validation_(std::move(validation)) {}

  std::string name() const override { return "search"; }
  int epochs() const override { return 1; }
  std::int64_t batch_size() const override { return samples_; }
  void begin_epoch(int) override {}
  double learning_rate() const override { return 0.0; }
  TensorMap state() const override { return {}; }
  void load_state(const TensorMap& state) override { copy_state(state, {}, "tip_adapter's search"); }
  Losses step(BatchSource&) override { return learner_.search(validation_()); }

 private:
  TipAdapter& learner_;
  std::int64_t samples_;
  std::function<Batch()> validation_;
};

void TipAdapter::load_state(const TensorMap& state) {
  const auto keys = state.find("keys");
  const auto labels = state.find("labels");
  // How many samples the cache holds is the state's to say.
  if (keys != state.end() && keys->second.dim() == 2 && keys->second.size(1) == keys_.size(1) &&
      keys->second.size(0) != keys_.size(0)) {
    make_cache(keys->second.size(0));
  }
  if (labels != state.end() && labels->second.numel() > 0) {
    const auto most = static_cast<std::int64_t>(classes_.size());
    if (labels->second.scalar_type() != at::kLong || labels->second.min().item<std::int64_t>() < 0 ||
        labels->second.max().item<std::int64_t>() >= most) {
      throw Error(fmt::format("{}: expected \"labels\" from 0 to {}, found others", method_, most - 1));
    }
  }
  copy_state(state, this->state(), method_);
}

Losses TipAdapter::search(const Batch& validation) {
  const at::NoGradGuard no_gradients;
  const Tensor zero_shot = cosine_logits(validation.image_features, text_, model_->logit_scale);
  const Tensor affinity = this->affinity(validation.image_features);
  const Tensor labels = validation.labels.to(zero_shot.device());
  double best = -1;
  for (const double beta : search_values(settings_.beta_scale, kBetaSteps)) {
    const Tensor votes = cache_votes(affinity, beta);
    for (const double alpha : search_values(settings_.alpha_scale, kAlphaSteps)) {
      const double found = share_right(zero_shot + alpha * votes, labels);
      if (found <= best) continue;
      best = found;
      strength_.copy_(at::tensor({alpha, beta}, at::kDouble));
    }
  }
  const Tensor logits = zero_shot + alpha() * cache_votes(affinity, beta());
  return {{"loss", at::cross_entropy_loss(logits, labels).item<double>()},
          {"accuracy", best},
          {"alpha", alpha()},
          {"beta", beta()}};
}

std::unique_ptr<Stage> TipAdapter::learning(const TrainingData& data) {
  DescentWork work{"keys", *training_, {{{{"keys", keys_}}}}, [this](const Batch& batch, std::int64_t) {
                     return cross_entropy(cached_logits(batch.image_features, alpha(), beta()), batch.labels);
                   }};
  work.steps_an_epoch = std::max<std::int64_t>(1, data.samples / training_->batch_size);
  return make_descent_stage(std::move(work));
}

Stages TipAdapter::stages(const TrainingData& data) {
  if (keys_.size(0) != data.samples) make_cache(data.samples);
  Stages stages;
  stages.push_back(std::make_unique<CacheStage>(*this, data.samples));
  if (training_) stages.push_back(learning(data));
  if (settings_.search && data.validation) {
    stages.push_back(std::make_unique<SearchStage>(*this, std::max<std::int64_t>(1, data.samples), data.validation));
  } else if (settings_.search) {
    log_info(fmt::format("{}: no validation samples to search alpha and beta on; they stay {} and {}", method_,
                         settings_.alpha, settings_.beta));
  }
  return stages;
}

Schema tip_schema() {
  return {
      {"tip.alpha", 1.17, "weight of the cache at the start"},
      {"tip.beta", 1.0, "sharpness of the cache at the start"},
      {"tip.search", true, "take the alpha and beta that are best on the validation samples"},
      {"tip.alpha_scale", 3.0, "largest alpha of the search"},
      {"tip.beta_scale", 7.0, "largest beta of the search"},
      {"tip.views", 10, "views of a picture whose features make its key; more than 1 need random views"},
      templates_key(),
  };
}

}  // namespace

std::vector<double> search_values(double scale, int steps) {
  std::vector<double> values;
  for (int i = 0; i < steps; ++i) values.push_back(i * (scale - 0.1) / steps + 0.1);
  return values;
}

Method tip_adapter_method() {
  return {"tip_adapter", "Tip-Adapter: a cache of the training pictures, nothing is learned (Zhang et al. 2022)",
          tip_schema(),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t) -> std::unique_ptr<Classifier> {
            return std::make_unique<TipAdapter>("tip_adapter", std::move(model), classes, TipSettings(config), nullptr);
          }};
}

Method tip_adapter_f_method() {
  Schema schema = tip_schema();
  for (Key& key : OptimSettings::schema({{"epochs", 20},
                                         {"batch_size", 256},
                                         {"optim.name", "adamw"},
                                         {"optim.lr", 1e-3},
                                         {"optim.weight_decay", 1e-2},
                                         {"optim.warmup", "none"}})) {
    schema.push_back(std::move(key));
  }
  return {"tip_adapter_f", "Tip-Adapter-F: the cache's keys are learned (Zhang et al. 2022)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t) -> std::unique_ptr<Classifier> {
            auto training = std::make_unique<OptimSettings>(config);
            training->epsilon = kPublishedEpsilon;
            return std::make_unique<TipAdapter>("tip_adapter_f", std::move(model), classes, TipSettings(config),
                                                std::move(training));
          }};
}

}  // namespace attune

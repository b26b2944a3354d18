#include "attune/methods/clip_lora.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/context.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/network.h"
#include "attune/optim/settings.h"

namespace attune {
namespace {

constexpr double kLastRate = 1e-6;
constexpr std::int64_t kHighestRank = 1024;
constexpr std::int64_t kStepsAShot = 500;

struct LoraSettings {
  std::int64_t rank, iterations;
  double alpha, dropout;
  bool text, image;
  std::string projections, words;

  explicit LoraSettings(const Config& config)
      : rank(config.integer("lora.rank", 1, kHighestRank)),
        iterations(config.integer("iterations")),
        alpha(config.number("lora.alpha")),
        dropout(config.number("lora.dropout")),
        text(config.text("lora.towers") != "image"),
        image(config.text("lora.towers") != "text"),
        projections(config.text("lora.projections")),
        words(config.text("context.init")) {
    const std::string towers = config.text("lora.towers");
    if (towers != "both" && towers != "text" && towers != "image") {
      throw UsageError(fmt::format("lora.towers: expected both, text or image, found \"{}\"", towers));
    }
    if (projections.empty() || projections.find_first_not_of("qkvo") != std::string::npos) {
      throw UsageError(fmt::format("lora.projections: expected letters of qkvo, found \"{}\"", projections));
    }
    if (iterations < 0) throw UsageError(fmt::format("iterations: expected at least 0, found {}", iterations));
    if (!(dropout >= 0 && dropout < 1)) {
      throw UsageError(fmt::format("lora.dropout: expected at least 0 and below 1, found {}", dropout));
    }
  }
};

/// AdamW whose rate falls along a cosine.
OptimSettings optim_settings(const Config& config) {
  Config own(OptimSettings::schema({{"optim.name", "adamw"}, {"optim.warmup", "none"}}));
  for (const char* key : {"batch_size", "optim.lr", "optim.weight_decay"}) own.set(key, config.value(key), key);
  OptimSettings settings(own);
  settings.schedule.last = kLastRate;
  return settings;
}

class ClipLora final : public Classifier {
 public:
  ClipLora(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : model_(std::move(model)), settings_(config), optim_settings_(optim_settings(config)), seed_(seed) {
    if (settings_.image && model_->config.vision.kind != VisionConfig::Kind::kViT) {
      throw UsageError(
          fmt::format("clip_lora: deltas of the image tower need a vision transformer; {} has a ResNet (set "
                      "lora.towers=text)",
                      model_->config.name));
    }
    if (settings_.text) start("text", model_->config.text.layers, model_->config.text.width);
    if (settings_.image) start("image", model_->config.vision.layers, model_->config.vision.width);
    const at::NoGradGuard no_gradients;
    words_ = model_->text->embed(at::tensor(model_->tokenizer->encode(settings_.words), at::kLong));
    set_classes(classes);
  }

  Needs needs() const override { return {.features = !settings_.image, .pixels = settings_.image}; }
  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override {
    prompts_ = ContextPrompts(*model_, classes, words_.size(0), false, NamePosition::kEnd)(words_);
    class_features_.reset();
  }

  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    if (!class_features_.defined()) class_features_ = class_features({});
    return cosine_logits(image_features(batch, {}), class_features_, model_->logit_scale);
  }

  TensorMap state() const override { return detached(learned_); }
  void load_state(const TensorMap& state) override {
    copy_state(state, this->state(), "clip_lora");
    class_features_.reset();
  }

  Stages stages(const TrainingData& data) override;

 private:
  struct Dropout {
    double rate = 0;
    std::uint64_t step = 0;
  };

  /// The answers [B, C] of a training step, under its own dropout.
  Tensor training_logits(const Batch& batch, std::int64_t step) const {
    const Dropout dropout{settings_.dropout, static_cast<std::uint64_t>(step)};
    return cosine_logits(image_features(batch, dropout), class_features(dropout), model_->logit_scale);
  }

  /// down as PyTorch starts a linear layer, up at zero: the model starts as it is.
  void start(const std::string& tower, std::int64_t layers, std::int64_t width) {
    KeyedRandom random(seed_, "clip_lora." + tower);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      for (const char projection : settings_.projections) {
        const std::string name = fmt::format("{}.{}.{}", tower, layer, projection);
        learned_[name + ".down"] =
            linear_start({settings_.rank, width}, width, random).to(model_->device).requires_grad_(true);
        learned_[name + ".up"] =
            at::zeros({width, settings_.rank}, at::TensorOptions(model_->device)).requires_grad_(true);
      }
    }
  }

  Tuning tuning(const std::string& tower, std::int64_t layers, const Dropout& dropout) const {
    Tuning tuning;
    tuning.blocks.resize(static_cast<std::size_t>(layers));
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      BlockTuning& block = tuning.blocks[static_cast<std::size_t>(layer)];
      for (const char projection : settings_.projections) {
        const std::string name = fmt::format("{}.{}.{}", tower, layer, projection);
        LowRank& delta = projection == 'q'   ? block.q
                         : projection == 'k' ? block.k
                         : projection == 'v' ? block.v
                                             : block.out;
        delta.down = learned_.at(name + ".down");
        delta.up = learned_.at(name + ".up");
        delta.scale = settings_.alpha / std::sqrt(static_cast<double>(settings_.rank));
        delta.dropout = dropout.rate;
        if (dropout.rate > 0) delta.dropout_key = KeyedRandom(seed_, "dropout of " + name, dropout.step).next_u64();
      }
    }
    return tuning;
  }

  Tensor class_features(const Dropout& dropout) const {
    const Tuning own = settings_.text ? tuning("text", model_->config.text.layers, dropout) : Tuning{};
    return model_->text->encode(prompts_, own).squeeze(0);
  }
  Tensor image_features(const Batch& batch, const Dropout& dropout) const {
    if (!settings_.image) return batch.image_features;
    return model_->image->encode(batch.pixels, tuning("image", model_->config.vision.layers, dropout)).global;
  }

  std::shared_ptr<const ClipModel> model_;
  LoraSettings settings_;
  OptimSettings optim_settings_;
  std::uint64_t seed_;
  TensorMap learned_;
  Tensor words_;  // [M, width]
  Prompts prompts_;
  Tensor class_features_;  // [C, d], of the current deltas; undefined after they changed
};

Stages ClipLora::stages(const TrainingData& data) {
  const auto classes = std::max<std::int64_t>(1, prompts_.end.size(0));
  const std::int64_t shots = std::max<std::int64_t>(1, (data.samples + classes / 2) / classes);
  const std::int64_t iterations = settings_.iterations > 0 ? settings_.iterations : kStepsAShot * shots;
  const std::int64_t steps = std::max<std::int64_t>(1, data.samples / optim_settings_.batch_size);
  OptimSettings settings = optim_settings_;
  settings.schedule.epochs = static_cast<int>(std::max<std::int64_t>(1, (iterations + steps - 1) / steps));
  DescentWork work{"clip_lora",
                   settings,
                   {{parameters_of(learned_)}},
                   [this](const Batch& batch, std::int64_t step) {
                     return cross_entropy(training_logits(batch, step), batch.labels);
                   },
                   [this] { class_features_.reset(); }};
  work.steps_an_epoch = steps;
  work.contexts = settings_.text ? 1 : 0;
  work.pictures = settings_.image ? settings.batch_size : 0;
  Stages stages;
  stages.push_back(make_descent_stage(std::move(work)));
  return stages;
}

}  // namespace

Method clip_lora_method() {
  return {"clip_lora",
          "CLIP-LoRA: low-rank deltas of both towers' attention (Zanella and Ben Ayed 2024)",
          {
              {"lora.rank", 2, "rank of a delta"},
              {"lora.alpha", 1.0, "a delta is scaled by alpha / sqrt(rank)"},
              {"lora.dropout", 0.25, "share of a delta's inputs that a training step leaves out"},
              {"lora.towers", "both", "both, text or image"},
              {"lora.projections", "qkv", "attention projections with deltas: letters of qkvo"},
              {"context.init", "a photo of a", "fixed words before the class names"},
              {"iterations", 0, "steps, rounded up to whole epochs; 0: 500 a training picture of a class"},
              {"batch_size", 32, "samples a step"},
              {"optim.lr", 2e-4, "learning rate of AdamW, which falls to 1e-6 along a cosine over the steps"},
              {"optim.weight_decay", 1e-2, "of every learned tensor"},
          },
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<ClipLora>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

#include "attune/methods/spg.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/log.h"
#include "attune/methods/adapter.h"
#include "attune/methods/context.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/domain_prompts.h"
#include "attune/methods/generated_prompts.h"
#include "attune/methods/spg_training.h"

namespace attune {
namespace {

constexpr const char* kLabels = "labels.";
constexpr const char* kGenerator = "generator.";
/// Prompts whose classes are encoded at once: enough for the matrix products, and little memory.
constexpr std::int64_t kPromptsAtOnce = 16;
constexpr std::int64_t kMostDraws = 1000;

/// The two readings of the release: its configuration files with their comments, and what its scripts run, where
/// defaults of the command line replace some of the values.
struct Preset {
  double rate, label_weight_decay;
  int label_warmup_epochs;

  static Preset named(const std::string& name) {
    if (name == "as-commented") return {2e-4, 5e-4, 1};
    if (name == "as-run") return {2e-3, 1e-4, 4};
    throw UsageError(fmt::format("preset: expected as-commented or as-run, found \"{}\"", name));
  }
};

Json given_or(const Config& config, const char* key, const Json& otherwise) {
  return config.value(key).is_null() ? otherwise : config.value(key);
}

OptimSettings label_settings(const Config& config, const Preset& preset) {
  Config own(OptimSettings::schema());
  own.set("epochs", config.value("labels.epochs"), "labels.epochs");
  own.set("batch_size", config.value("batch_size"), "batch_size");
  own.set("optim.name", config.value("labels.optim"), "labels.optim");
  own.set("optim.lr", config.value("labels.lr"), "labels.lr");
  own.set("optim.weight_decay", given_or(config, "labels.weight_decay", preset.label_weight_decay),
          "labels.weight_decay");
  own.set("optim.warmup_epochs", given_or(config, "labels.warmup_epochs", preset.label_warmup_epochs),
          "labels.warmup_epochs");
  return OptimSettings(own);
}

OptimSettings generator_settings(const Config& config, const Preset& preset) {
  Config own(OptimSettings::schema());
  for (const Key& key : OptimSettings::schema()) {
    own.set(key.name, given_or(config, key.name.c_str(), preset.rate), key.name);
  }
  return OptimSettings(own);
}

ContextSettings context_settings(const std::string& words) {
  if (words.empty()) throw UsageError("context.init: expected the words that a prompt label starts from, found none");
  Config own(ContextSettings::schema());
  own.set("context.init", Json(words), "context.init");
  return ContextSettings(own);
}

class Spg final : public Classifier, public GeneratesPrompts {
 public:
  Spg(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config, std::uint64_t seed)
      : model_(std::move(model)),
        seed_(seed),
        draws_(config.integer("draws")),
        labels_from_(config.text("labels.from")),
        label_settings_(label_settings(config, Preset::named(config.text("preset")))),
        generator_settings_(generator_settings(config, Preset::named(config.text("preset")))),
        clipping_(SpgClipping::named(config.text("clip"))),
        labels_(initial_context(*model_, context_settings(config.text("context.init")), 1, seed)),
        prompts_(make_prompts(classes)),
        generator_(make_generator()) {
    if (draws_ < 1 || draws_ > kMostDraws) {
      throw UsageError(fmt::format("draws: expected 1 to {}, found {}", kMostDraws, draws_));
    }
  }

  Needs needs() const override { return {.content_keys = true}; }
  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override { prompts_ = make_prompts(classes); }
  Tensor logits(const Batch& batch) override;
  Tensor generated_prompts(const Batch& batch, std::int64_t draws) override;
  bool draws_differ() const override { return true; }
  TensorMap generator_state() const override { return generator_.state(); }
  TensorMap state() const override;
  void load_state(const TensorMap& state) override;
  Stages stages(const TrainingData& data) override;

 private:
  friend class SpgGeneratorStage;

  ContextPrompts make_prompts(const ClassNames& classes) const {
    return {*model_, classes, labels_.start().size(0), false, NamePosition::kEnd};
  }
  PromptGenerator make_generator() const {
    KeyedRandom random(seed_, "spg.generator");
    const Tensor& start = labels_.start();
    PromptGenerator generator(model_->config.joint_width, start.size(0), start.size(1), random);
    generator.to(start.device());
    return generator;
  }
  PromptDiscriminator make_discriminator() const {
    KeyedRandom random(seed_, "spg.discriminator");
    const Tensor& start = labels_.start();
    PromptDiscriminator discriminator(model_->config.joint_width, start.size(0), start.size(1), random);
    discriminator.to(start.device());
    return discriminator;
  }
  /// [count * draws, M, width] of the pictures from `first` on.
  Tensor prompts_of(const Batch& batch, std::int64_t first, std::int64_t count, std::int64_t draws) const;
  std::unique_ptr<Stage> label_stage(const SourceDomain& domain);
  void reuse_labels(const std::vector<SourceDomain>& domains);
  void report_labels() const;

  std::shared_ptr<const ClipModel> model_;
  std::uint64_t seed_;
  std::int64_t draws_;
  std::string labels_from_;
  OptimSettings label_settings_, generator_settings_;
  SpgClipping clipping_;
  DomainPrompts labels_;
  ContextPrompts prompts_;
  PromptGenerator generator_;
};

class SpgGeneratorStage final : public Stage {
 public:
  SpgGeneratorStage(Spg& learner, const TrainingData& data)
      : learner_(learner),
        seed_(data.seed),
        discriminator_(learner.make_discriminator()),
        domains_(data.domains),
        training_(learner.generator_, discriminator_, learner.generator_settings_, learner.clipping_) {}

  std::string name() const override { return "generator"; }
  int epochs() const override { return learner_.generator_settings_.schedule.epochs; }
  std::int64_t batch_size() const override { return learner_.generator_settings_.batch_size; }
  StepCost cost() const override { return training_.cost(); }
  double learning_rate() const override { return training_.learning_rate(); }

  void begin_epoch(int epoch) override {
    if (epoch == 0) learner_.report_labels();
    training_.begin_epoch(epoch);
  }

  Losses step(BatchSource& batches) override {
    const Batch batch = batches.next(), other = batches.next();
    const at::Device device = learner_.labels_.start().device();
    KeyedRandom random(seed_, "spg.iteration", static_cast<std::uint64_t>(steps_++));
    SpgDraws draws = draw_iteration(batch.image_features.size(0), other.image_features.size(0), random);
    for (Tensor* one : {&draws.noise, &draws.learned_masks, &draws.generated_masks, &draws.generator_masks}) {
      *one = one->to(device);
    }
    const SpgLosses losses =
        training_.step({learner_.labels_.of(batch, domains_), normalise_rows(batch.image_features.to(device)),
                        normalise_rows(other.image_features.to(device))},
                       draws);
    return {{"loss", losses.discriminator + losses.generator},
            {"discriminator_loss", losses.discriminator},
            {"generator_loss", losses.generator},
            {"judged_learned", losses.judged_learned},
            {"judged_generated", losses.judged_generated}};
  }

  TensorMap state() const override {
    TensorMap state = training_.state();
    state["steps"] = at::scalar_tensor(steps_, at::kLong);
    return state;
  }
  void load_state(const TensorMap& state) override {
    const auto steps = state.find("steps");
    if (steps == state.end()) throw Error("checkpoint: expected a tensor \"steps\" of spg's generator, found none");
    steps_ = steps->second.item<std::int64_t>();
    training_.load_state(state);
  }

 private:
  Spg& learner_;
  std::uint64_t seed_;
  PromptDiscriminator discriminator_;
  std::vector<DomainSamples> domains_;
  SpgTraining training_;
  std::int64_t steps_ = 0;
};

Tensor Spg::prompts_of(const Batch& batch, std::int64_t first, std::int64_t count, std::int64_t draws) const {
  if (static_cast<std::int64_t>(batch.content.size()) != batch.size()) {
    throw Error(fmt::format("spg: expected the content keys of {} pictures, which key their noise, found {}",
                            batch.size(), batch.content.size()));
  }
  std::vector<Tensor> noise;
  for (std::int64_t i = first; i < first + count; ++i) {
    KeyedRandom random(seed_, "spg.test_noise", batch.content[static_cast<std::size_t>(i)]);
    noise.push_back(normal({draws, PromptGenerator::kNoise}, 0, 1, random));
  }
  const at::Device device = labels_.start().device();
  const Tensor features = batch.image_features.narrow(0, first, count).to(device).repeat_interleave(draws, 0);
  return generator_(at::cat(noise).to(device), normalise_rows(features), /*training=*/false);
}

Tensor Spg::generated_prompts(const Batch& batch, std::int64_t draws) {
  const at::NoGradGuard no_gradients;
  const Tensor& start = labels_.start();
  return prompts_of(batch, 0, batch.size(), draws).view({batch.size(), draws, start.size(0), start.size(1)});
}

Tensor Spg::logits(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  const std::int64_t images = batch.image_features.size(0);
  const std::int64_t at_once = std::max<std::int64_t>(1, kPromptsAtOnce / draws_);
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < images; first += at_once) {
    const std::int64_t count = std::min(at_once, images - first);
    const Tensor features =
        batch.image_features.narrow(0, first, count).to(labels_.start().device()).repeat_interleave(draws_, 0);
    const Tensor prompts = prompts_of(batch, first, count, draws_);
    const Tensor logits =
        cosine_logits_per_image(features, model_->text->encode(prompts_.of_each(prompts)), model_->logit_scale);
    parts.push_back(logits.view({count, draws_, logits.size(1)}).mean(1));
  }
  return at::cat(parts);
}

TensorMap Spg::state() const {
  TensorMap state;
  add_state(state, kGenerator, generator_.state());
  add_state(state, kLabels, labels_.state());
  return state;
}

void Spg::load_state(const TensorMap& state) {
  // Which domains there are is the state's to say; those that are known already must be in it.
  for (const auto& [domain, value] : part_of_state(state, kLabels)) labels_.of(domain);
  copy_state(state, this->state(), "spg");
}

/// CoOp on the samples of one domain.
std::unique_ptr<Stage> Spg::label_stage(const SourceDomain& domain) {
  const Tensor label = labels_.of(domain.name);
  const auto logits = [this, label](const Batch& batch) {
    return cosine_logits(batch.image_features, model_->text->encode(prompts_(label)).squeeze(0), model_->logit_scale);
  };
  const auto objective = [logits](const Batch& batch, std::int64_t) {
    return cross_entropy(logits(batch), batch.labels);
  };
  DescentWork work{"label " + domain.name, label_settings_, {{{{"label", label}}}}, objective, [] {},
                   domain.index,           logits};
  work.contexts = 1;
  return make_descent_stage(std::move(work));
}

void Spg::reuse_labels(const std::vector<SourceDomain>& domains) {
  const AdapterInfo info = read_adapter_info(labels_from_);
  if (info.weight_hash != model_->weight_hash()) {
    throw Error(fmt::format("labels.from: expected an adapter of the base model with weights {}, found {} of {}",
                            model_->weight_hash(), labels_from_, info.weight_hash));
  }
  const TensorMap found = part_of_state(read_adapter_tensors(labels_from_), kLabels);
  for (const SourceDomain& domain : domains) {
    const auto label = found.find(domain.name);
    if (label == found.end()) {
      std::vector<std::string> names;
      for (const auto& [name, tensor] : found) names.push_back(name);
      throw UsageError(fmt::format("labels.from: expected a prompt label of \"{}\" in {}, found {}", domain.name,
                                   labels_from_, names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
    }
    copy_state({{domain.name, label->second}}, {{domain.name, labels_.of(domain.name).detach()}}, labels_from_);
  }
}

/// The generator ends in tanh: what a label has outside of (-1, 1) it cannot give.
void Spg::report_labels() const {
  std::vector<std::string> largest;
  for (const DomainPrompts::Entry& label : labels_.all()) {
    const double entry = label.prompt.detach().abs().max().item<double>();
    largest.push_back(fmt::format("{} {:.3f}", label.domain, entry));
    if (!(entry < 1)) {
      log_warning(fmt::format(
          "spg: the prompt label of {} has entries up to {:.3f} in size, but the generator gives only those "
          "within (-1, 1); learn labels with a smaller labels.lr or fewer labels.epochs",
          label.domain, entry));
    }
  }
  log_info(fmt::format("spg: largest entry of the prompt labels: {}", fmt::join(largest, ", ")));
}

Stages Spg::stages(const TrainingData& data) {
  const std::vector<SourceDomain> sources = source_domains(data);
  Stages stages;
  if (!labels_from_.empty()) {
    reuse_labels(sources);
  } else {
    for (const SourceDomain& domain : sources) stages.push_back(label_stage(domain));
  }
  stages.push_back(std::make_unique<SpgGeneratorStage>(*this, data));
  return stages;
}

Schema spg_schema() {
  Schema schema = {
      {"preset", "as-commented",
       "settings that are left open: as-commented (the authors' comments: optim.lr 2e-4, labels' warm-up 1 epoch and "
       "weight decay 5e-4) or as-run (what their scripts run: 2e-3, 4 epochs, 1e-4)"},
      {"context.init", "a photo of a", "words that every prompt label starts from; they set its length"},
      {"labels.from", "", "adapter folder whose prompt labels are used; empty: they are learned"},
      {"labels.epochs", 50, "of learning a domain's prompt label"},
      {"labels.optim", "sgd", "sgd, adam or adamw"},
      {"labels.lr", 0.002, "learning rate of the prompt labels"},
      {"labels.weight_decay", nullptr, "of the prompt labels; null: the preset's"},
      {"labels.warmup_epochs", nullptr, "of the prompt labels, at 1e-5; null: the preset's"},
      {"clip", "default", "limits of gradient norms, tensor by tensor: default, pacs (the authors' for PACS) or none"},
      {"draws", 1, "prompts drawn for a picture, whose logits are averaged"},
  };
  for (Key& key : OptimSettings::schema({{"epochs", 70},
                                         {"optim.name", "adamw"},
                                         {"optim.lr", nullptr},
                                         {"optim.weight_decay", 1e-4},
                                         {"optim.warmup", "linear"},
                                         {"optim.warmup_epochs", 4}})) {
    if (key.name == "optim.lr") key.meaning = "learning rate of generator and discriminator; null: the preset's";
    schema.push_back(std::move(key));
  }
  return schema;
}

}  // namespace

Method spg_method() {
  return {"spg", "SPG: a generator gives every picture a prompt of its own (Bai et al. 2024)", spg_schema(),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<Spg>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune

#include "attune/methods/prompt_sets.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/value_cells.h"
#include "attune/methods/context.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/hand_features.h"
#include "attune/tensors/transport.h"
#include "attune/text/descriptions.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

constexpr std::int64_t kMostPrompts = 64;
/// Similarities of cells and prompts that prediction holds at once.
constexpr std::int64_t kSimilaritiesAtOnce = 1 << 24;

enum class TextLoss { kTransport, kCosine, kDivergence, kContrast };

TextLoss text_loss_named(const std::string& name) {
  if (name == "ot") return TextLoss::kTransport;
  if (name == "cosine") return TextLoss::kCosine;
  if (name == "kl") return TextLoss::kDivergence;
  if (name == "contrast") return TextLoss::kContrast;
  throw UsageError(fmt::format("text.loss: expected ot, cosine, kl or contrast, found \"{}\"", name));
}

bool by_values(const std::string& name) {
  if (name == "trained" || name == "values") return name == "values";
  throw UsageError(fmt::format("cells.attention: expected trained or values, found \"{}\"", name));
}

double weight_of(const Config& config, const char* key) {
  const double weight = config.number(key);
  if (!(weight >= 0)) throw UsageError(fmt::format("{}: expected at least 0, found {}", key, weight));
  return weight;
}

struct PromptSetSettings {
  std::int64_t prompts;
  double global_share, local_share;  // of the answer
  double global_loss, local_loss;    // weights of the cross-entropies of the two answers
  double text_loss;                  // weight of the distance to the descriptions
  TextLoss text_form;
  std::string descriptions, description_form;
  bool value_cells;  // cells find each other by values in the image tower's last block
  TransportSettings transport;

  explicit PromptSetSettings(const Config& config)
      : prompts(config.integer("prompts", 1, kMostPrompts)),
        global_share(weight_of(config, "answer.global")),
        local_share(weight_of(config, "answer.local")),
        global_loss(weight_of(config, "loss.global")),
        local_loss(weight_of(config, "loss.local")),
        text_loss(weight_of(config, "loss.text")),
        text_form(text_loss_named(config.text("text.loss"))),
        descriptions(config.text("descriptions")),
        description_form(config.text("descriptions.form")),
        value_cells(by_values(config.text("cells.attention"))) {
    if (global_share + local_share == 0 || global_loss + local_loss == 0) {
      throw UsageError("answer.global, answer.local, loss.global, loss.local: expected one of each pair above 0");
    }
    transport.epsilon = config.number("transport.epsilon");
    transport.iterations = static_cast<int>(std::clamp<std::int64_t>(config.integer("transport.iterations"), 1, 10000));
    transport.threshold = weight_of(config, "transport.threshold");
    transport.stop_together = config.flag("transport.stop_together");
    if (!(transport.epsilon >= kLeastTransportEpsilon)) {
      throw UsageError(
          fmt::format("transport.epsilon: expected at least {}, found {}", kLeastTransportEpsilon, transport.epsilon));
    }
  }
};

/// Frozen features of the sentences about the classes.
struct DescriptionFeatures {
  Tensor sentences;  // [C, K, d], normalised; rows behind a class's last are zero
  Tensor masses;     // [C, K], 1 / K_c for the K_c sentences of a class
  Tensor means;      // [C, d], of the sentences' features
  std::vector<std::vector<std::string>> texts;
};

Tensor uniform_masses(std::int64_t places, const Tensor& like) {
  return at::full({1, places}, 1.0 / static_cast<double>(places), like.options().requires_grad(false));
}

class PromptSets final : public Classifier, public TransportsCells {
 public:
  PromptSets(std::string method, std::shared_ptr<const ClipModel> model, const ClassNames& classes,
             const Config& config, std::uint64_t seed)
      : method_(std::move(method)),
        model_(std::move(model)),
        settings_(config),
        optim_settings_(config),
        contexts_(initial_contexts(config, seed)),
        prompts_(make_prompts(classes)),
        classes_(classes) {
    description_form_named(settings_.description_form);
    if (settings_.value_cells && model_->config.vision.kind != VisionConfig::Kind::kViT)
      throw UsageError("cells.attention: expected trained, since the image tower is a ResNet, found values");
    contexts_.requires_grad_(true);
  }

  Needs needs() const override {
    const bool cells = settings_.local_share + settings_.local_loss > 0;
    return {
        .features = true, .local_features = cells && !settings_.value_cells, .pixels = cells && settings_.value_cells};
  }
  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override {
    prompts_ = make_prompts(classes);
    classes_ = classes;
    described_ = {};
    class_features_.reset();
  }

  Tensor logits(const Batch& batch) override;
  Tensor cell_plan(const Batch& batch, std::int64_t class_index) override;
  bool has_descriptions() const override { return settings_.text_loss > 0; }
  DescriptionPlan description_plan(std::int64_t class_index) override;
  TensorMap state() const override { return {{"contexts", contexts_.detach()}}; }
  void load_state(const TensorMap& state) override {
    copy_state(state, this->state(), method_);
    class_features_.reset();
  }
  Stages stages(const TrainingData& data) override;

 private:
  /// [M, L, width]: normal numbers of their own for every prompt, or the same words for all, which then differ by small
  /// normal numbers: prompts that start alike stay alike.
  Tensor initial_contexts(const Config& config, std::uint64_t seed) const;
  ContextPrompts make_prompts(const ClassNames& classes) const {
    return {*model_, classes, contexts_.size(1), false, NamePosition::kEnd};
  }
  /// Normalised [M, C, d] with gradients to the contexts.
  Tensor class_features() const { return normalise_rows(model_->text->encode(prompts_.of_each(contexts_))); }
  const Tensor& kept_class_features() {
    const at::NoGradGuard no_gradients;
    if (!class_features_.defined()) class_features_ = class_features();
    return class_features_;
  }
  void read_descriptions_of_classes();

  /// Features of a picture's cells [B, cells, d].
  Tensor cells_of(const Batch& batch) const {
    const at::NoGradGuard no_gradients;
    return settings_.value_cells ? value_cells(*model_->image, batch.pixels.to(model_->device))
                                 : batch.local_features.to(model_->device);
  }

  /// <g, mean of the prompts' features>: [B, C].
  static Tensor global_similarity(const Tensor& image, const Tensor& text) {
    return at::matmul(normalise_rows(image), text.mean(0).t());
  }
  /// Similarities [B * C, cells, M] of cells [B, cells, d] and prompts [M, C, d].
  static Tensor cell_similarities(const Tensor& cells, const Tensor& text) {
    const Tensor flat = at::matmul(normalise_rows(cells), text.reshape({-1, text.size(2)}).t());
    return flat.view({cells.size(0), cells.size(1), text.size(0), text.size(1)})
        .permute({0, 3, 1, 2})
        .reshape({-1, cells.size(1), text.size(0)});
  }
  Tensor plan_of(const Tensor& similarity) const {
    return transport_plan(similarity, uniform_masses(similarity.size(1), similarity),
                          uniform_masses(similarity.size(2), similarity), settings_.transport);
  }
  /// The transported similarity [B, C].
  Tensor local_similarity(const Tensor& cells, const Tensor& text) const {
    const Tensor similarity = cell_similarities(cells, text);
    return (plan_of(similarity) * similarity).sum({1, 2}).view({cells.size(0), text.size(1)});
  }
  Tensor text_loss(const Tensor& text, const Tensor& image) const;
  Objective objective(const Batch& batch) const;

  const std::string method_;
  std::shared_ptr<const ClipModel> model_;
  PromptSetSettings settings_;
  OptimSettings optim_settings_;
  Tensor contexts_;  // [M, L, width]
  ContextPrompts prompts_;
  ClassNames classes_;
  DescriptionFeatures described_;  // where training aligns with descriptions
  Tensor class_features_;          // [M, C, d], of the current contexts; undefined after they changed
};

Tensor PromptSets::initial_contexts(const Config& config, std::uint64_t seed) const {
  ContextSettings context(config);
  if (context.class_specific || context.position != NamePosition::kEnd) {
    throw UsageError(fmt::format(
        "{}: contexts are shared by the classes and stand before the name; leave context.class_specific and "
        "context.position as they are",
        method_));
  }
  std::vector<Tensor> contexts;
  for (std::int64_t m = 0; m < settings_.prompts; ++m) {
    KeyedRandom random(seed, method_ + ".context", static_cast<std::uint64_t>(m));
    if (context.words.empty()) {
      contexts.push_back(normal({context.length, model_->config.text.width}, 0, context.deviation, random));
    } else {
      const Tensor words = initial_context(*model_, context, 1, seed).to(at::kCPU);
      contexts.push_back(m == 0 ? words : words + normal(words.sizes(), 0, context.deviation, random));
    }
  }
  return at::stack(contexts).to(model_->device);
}

void PromptSets::read_descriptions_of_classes() {
  const Descriptions file = settings_.descriptions.empty() ? Descriptions{} : read_descriptions(settings_.descriptions);
  const DescriptionForm form = description_form_named(settings_.description_form);
  const Tensor hand = hand_features(*model_, classes_, "single");
  std::vector<Tensor> features;
  std::int64_t longest = 1;
  described_.texts.clear();
  for (std::size_t c = 0; c < classes_.names.size(); ++c) {
    std::vector<std::string> sentences = sentences_about(file, classes_.names[c], form);
    // Sentences behind the model's last position are cut: descriptions are made by machines that do not know it.
    features.push_back(sentences.empty() ? hand.narrow(0, static_cast<std::int64_t>(c), 1)
                                         : encode_sentences(*model_, sentences, /*truncate=*/true));
    longest = std::max(longest, features.back().size(0));
    if (sentences.empty()) sentences = {fill(classes_.prompt_template, classes_.names[c])};
    described_.texts.push_back(std::move(sentences));
  }
  const auto count = static_cast<std::int64_t>(features.size());
  described_.sentences = at::zeros({count, longest, hand.size(1)}, hand.options());
  described_.masses = at::zeros({count, longest}, hand.options());
  std::vector<Tensor> means;
  for (std::int64_t c = 0; c < count; ++c) {
    const Tensor& own = features[static_cast<std::size_t>(c)];
    described_.sentences[c].narrow(0, 0, own.size(0)).copy_(own);
    described_.masses[c].narrow(0, 0, own.size(0)).fill_(1.0 / static_cast<double>(own.size(0)));
    means.push_back(own.mean(0));
  }
  described_.means = at::stack(means);
}

/// How far the prompts' features [M, C, d] are from the descriptions (methods of the field in one place: inferred).
Tensor PromptSets::text_loss(const Tensor& text, const Tensor& image) const {
  const double scale = model_->logit_scale;
  const Tensor mean = text.mean(0);
  switch (settings_.text_form) {
    case TextLoss::kTransport: {
      const Tensor similarity = at::matmul(text.transpose(0, 1), described_.sentences.transpose(1, 2));  // [C, M, K]
      const Tensor plan = transport_plan(similarity, uniform_masses(similarity.size(1), similarity), described_.masses,
                                         settings_.transport);
      return (plan * (1 - similarity)).sum({1, 2}).mean();
    }
    case TextLoss::kCosine:
      return 1 - (normalise_rows(mean) * normalise_rows(described_.means)).sum(1).mean();
    case TextLoss::kDivergence: {
      const Tensor unit = normalise_rows(image);
      const Tensor expected = at::log_softmax(at::matmul(unit, described_.means.t()) * scale, 1);
      const Tensor found = at::log_softmax(at::matmul(unit, mean.t()) * scale, 1);
      return (expected.exp() * (expected - found)).sum(1).mean();
    }
    case TextLoss::kContrast:
      break;
  }
  const Tensor pairs = at::matmul(normalise_rows(mean), normalise_rows(described_.means).t()) * scale;
  return at::cross_entropy_loss(pairs, at::arange(pairs.size(0), at::TensorOptions(pairs.device()).dtype(at::kLong)));
}

Objective PromptSets::objective(const Batch& batch) const {
  const Tensor text = class_features();
  const Tensor image = batch.image_features.to(text.device()), labels = batch.labels.to(text.device());
  const double scale = model_->logit_scale;
  Tensor answer, loss = at::zeros({}, text.options());
  Losses terms;
  const auto add = [&](const char* name, const Tensor& term, double weight) {
    loss = loss + weight * term;
    terms.emplace_back(name, term.item<double>());
  };
  if (settings_.global_share + settings_.global_loss > 0) {
    const Tensor logits = global_similarity(image, text) * scale;
    answer = settings_.global_share * logits.detach();
    if (settings_.global_loss > 0) add("global", at::cross_entropy_loss(logits, labels), settings_.global_loss);
  }
  if (settings_.local_share + settings_.local_loss > 0) {
    const Tensor logits = local_similarity(cells_of(batch), text) * scale;
    const Tensor share = settings_.local_share * logits.detach();
    answer = answer.defined() ? answer + share : share;
    if (settings_.local_loss > 0) add("local", at::cross_entropy_loss(logits, labels), settings_.local_loss);
  }
  if (settings_.text_loss > 0) add("text", text_loss(text, image), settings_.text_loss);
  return {loss, answer, terms};
}

Tensor PromptSets::logits(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  const Tensor& text = kept_class_features();
  Tensor answer = settings_.global_share * global_similarity(batch.image_features.to(text.device()), text);
  if (settings_.local_share > 0) {
    const Tensor cells = cells_of(batch);
    const std::int64_t each = cells.size(1) * text.size(0) * text.size(1);
    const std::int64_t at_once = std::max<std::int64_t>(1, kSimilaritiesAtOnce / each);
    std::vector<Tensor> parts;
    for (std::int64_t first = 0; first < cells.size(0); first += at_once) {
      parts.push_back(local_similarity(cells.narrow(0, first, std::min(at_once, cells.size(0) - first)), text));
    }
    answer = answer + settings_.local_share * at::cat(parts);
  }
  return answer * model_->logit_scale;
}

Tensor PromptSets::cell_plan(const Batch& batch, std::int64_t class_index) {
  const at::NoGradGuard no_gradients;
  const Tensor text = kept_class_features().narrow(1, class_index, 1);
  return plan_of(cell_similarities(cells_of(batch), text));
}

DescriptionPlan PromptSets::description_plan(std::int64_t class_index) {
  const at::NoGradGuard no_gradients;
  if (!described_.sentences.defined()) read_descriptions_of_classes();
  std::vector<std::string> texts = described_.texts.at(static_cast<std::size_t>(class_index));
  const auto count = static_cast<std::int64_t>(texts.size());
  const Tensor own = described_.sentences[class_index].narrow(0, 0, count);
  const Tensor similarity = at::matmul(kept_class_features().select(1, class_index), own.t()).unsqueeze(0);
  const Tensor plan = plan_of(similarity);
  return {std::move(texts), plan[0], similarity[0]};
}

Stages PromptSets::stages(const TrainingData&) {
  if (settings_.text_loss > 0) read_descriptions_of_classes();
  DescentWork work{method_,
                   optim_settings_,
                   {{{{"contexts", contexts_}}}},
                   [this](const Batch& batch, std::int64_t) { return objective(batch); },
                   [this] { class_features_.reset(); }};
  work.contexts = contexts_.size(0);
  Stages stages;
  stages.push_back(make_descent_stage(std::move(work)));
  return stages;
}

struct Defaults {
  double global_share, global_loss, text_loss;
  std::int64_t batch_size;
};

Method prompt_set_method(const std::string& name, const std::string& meaning, const Defaults& defaults) {
  Schema schema = {
      {"prompts", 4, "learned prompts a class, each with a context of its own"},
      {"answer.global", defaults.global_share, "share of the global similarity in an answer"},
      {"answer.local", 1.0, "share of the transported similarity of cells in an answer"},
      {"loss.global", defaults.global_loss, "weight of the cross-entropy of the global similarity"},
      {"loss.local", 1.0, "weight of the cross-entropy of the transported similarity"},
      {"loss.text", defaults.text_loss, "weight of the distance between prompts and descriptions"},
      {"text.loss", "ot", "that distance: ot (transport), cosine, kl (of answers) or contrast (between classes)"},
      {"descriptions", "", "JSON file {class name: [texts]}; a class without texts has its hand-written sentence"},
      {"descriptions.form", "sentence", "texts are whole sentences (sentence), or what a class has (descriptor)"},
      {"cells.attention", "trained",
       "how cells see each other in the last block: trained (by queries and keys) or values (ViT; inferred)"},
      {"transport.epsilon", 0.1, "weight of the entropy in an optimal transport"},
      {"transport.iterations", 100, "most iterations of an optimal transport"},
      {"transport.threshold", 1e-2, "mean change of the row scales below which a transport is solved"},
      {"transport.stop_together", false, "a batch's transports stop together (PLOT's code), else each by itself"},
  };
  for (Key& key : ContextSettings::schema()) schema.push_back(std::move(key));
  for (Key& key : OptimSettings::schema({{"batch_size", defaults.batch_size}})) schema.push_back(std::move(key));
  return {name, meaning, std::move(schema),
          [name](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
                 std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<PromptSets>(name, std::move(model), classes, config, seed);
          }};
}

}  // namespace

Method plot_method() {
  return prompt_set_method("plot", "PLOT: sets of prompts met by the cells of a picture (Chen et al. 2023)",
                           {.global_share = 0, .global_loss = 0, .text_loss = 0, .batch_size = 128});
}

Method dual_pt_method() {
  return prompt_set_method(
      "dual_pt", "DuAl-PT: sets of prompts aligned with descriptions and with a picture's cells (Hu et al. 2023)",
      {.global_share = 1, .global_loss = 1, .text_loss = 1, .batch_size = 32});
}

}  // namespace attune

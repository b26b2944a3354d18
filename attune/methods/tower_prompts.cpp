#include "attune/methods/tower_prompts.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/network.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

constexpr std::int64_t kMostTokens = 1000;

Place place_named(const std::string& name) {
  if (name == "end") return Place::kAtEnd;
  if (name == "after_class") return Place::kAfterClass;
  throw UsageError(fmt::format("vision.place: expected end or after_class, found \"{}\"", name));
}

}  // namespace

Schema TowerPromptSettings::schema(const TowerPromptSettings& defaults) {
  return {
      {"text.tokens", defaults.text_tokens, "learned tokens of the text tower; 0: its text is fixed"},
      {"text.depth", defaults.text_depth, "blocks of the text tower with tokens of their own, the first included"},
      {"vision.tokens", defaults.vision_tokens, "learned tokens of the image tower; 0: it stays as it is"},
      {"vision.depth", defaults.vision_depth, "blocks of the image tower with tokens of their own, the first included"},
      {"vision.place", defaults.place == Place::kAtEnd ? "end" : "after_class",
       "where the image tower's tokens stand: end (MaPLe), after_class (VPT)"},
      {"context.init", defaults.words, "words before the class names; learned tokens take the place of the first"},
      {"context.deviation", defaults.deviation, "standard deviation of tokens that start at random"},
  };
}

TowerPromptSettings::TowerPromptSettings(const Config& config, const TowerPromptSettings& defaults)
    : TowerPromptSettings(defaults) {
  text_tokens = config.integer("text.tokens", 0, kMostTokens);
  text_depth = config.integer("text.depth", 1, kMostTokens);
  vision_tokens = config.integer("vision.tokens", 0, kMostTokens);
  vision_depth = config.integer("vision.depth", 1, kMostTokens);
  place = place_named(config.text("vision.place"));
  words = config.text("context.init");
  deviation = config.number("context.deviation");
  if (!(deviation >= 0)) throw UsageError(fmt::format("context.deviation: expected at least 0, found {}", deviation));
  if (text_tokens == 0 && vision_tokens == 0) {
    throw UsageError("text.tokens, vision.tokens: expected learned tokens in one of the towers, found none");
  }
  if (coupled && (text_tokens == 0 || vision_tokens != text_tokens)) {
    throw UsageError(
        fmt::format("vision.tokens: expected as many as text.tokens ({}), which they are made of, found {}",
                    text_tokens, vision_tokens));
  }
}

TowerPrompts::TowerPrompts(const ClipModel& model, const std::string& method, const TowerPromptSettings& settings,
                           const ClassNames& classes, std::uint64_t seed)
    : model_(model), settings_(settings), words_(model.tokenizer->encode(settings.words)) {
  if (sees_pixels() && model.config.vision.kind != VisionConfig::Kind::kViT) {
    throw UsageError(fmt::format(
        "{}: learned tokens of the image tower need a vision transformer; {} has a ResNet, which has no tokens", method,
        model.config.name));
  }
  settings_.text_depth = std::min(settings_.text_depth, model.config.text.layers);
  settings_.vision_depth = std::min(settings_.vision_depth, model.config.vision.layers);
  if (settings_.coupled) settings_.vision_depth = std::min(settings_.text_depth, settings_.vision_depth);
  if (changes_text()) start_text(seed);
  if (sees_pixels() && settings_.coupled) start_coupling(seed);
  if (sees_pixels() && !settings_.coupled) start_vision(seed);
  for (auto& [name, value] : learned_) value = value.to(model.device).requires_grad_(true);
  set_classes(classes);
}

/// The first words, or normal numbers where there are too few.
void TowerPrompts::start_text(std::uint64_t seed) {
  const std::int64_t width = model_.config.text.width, tokens = settings_.text_tokens;
  KeyedRandom random(seed, "tower_prompts.text");
  if (static_cast<std::int64_t>(words_.size()) >= tokens) {
    const at::NoGradGuard no_gradients;
    learned_["context"] = model_.text->embed(at::tensor(words_, at::kLong)).narrow(0, 0, tokens).clone();
    words_.erase(words_.begin(), words_.begin() + tokens);
  } else {
    learned_["context"] = normal({tokens, width}, 0, settings_.deviation, random);
    words_.clear();
  }
  for (std::int64_t block = 1; block < settings_.text_depth; ++block) {
    learned_[fmt::format("text.{}", block)] = normal({tokens, width}, 0, settings_.deviation, random);
  }
}

void TowerPrompts::start_vision(std::uint64_t seed) {
  KeyedRandom random(seed, "tower_prompts.vision");
  for (std::int64_t block = 0; block < settings_.vision_depth; ++block) {
    learned_[fmt::format("vision.{}", block)] =
        normal({settings_.vision_tokens, model_.config.vision.width}, 0, settings_.deviation, random);
  }
}

/// Layers as PyTorch starts them; those behind the first block start alike.
void TowerPrompts::start_coupling(std::uint64_t seed) {
  const std::int64_t width = model_.config.text.width, vision_width = model_.config.vision.width;
  KeyedRandom random(seed, "tower_prompts.coupling");
  Tensor weight, bias;
  for (std::int64_t block = 0; block < settings_.vision_depth; ++block) {
    if (block < 2) {
      weight = linear_start({vision_width, width}, width, random);
      bias = linear_start({vision_width}, width, random);
    }
    learned_[fmt::format("coupling.{}.weight", block)] = weight.clone();
    learned_[fmt::format("coupling.{}.bias", block)] = bias.clone();
  }
}

void TowerPrompts::set_classes(const ClassNames& classes) {
  if (changes_text()) {
    prompts_.emplace(model_, classes, settings_.text_tokens, false, NamePosition::kEnd, words_);
    return;
  }
  std::vector<std::string> sentences;
  for (const std::string& name : classes.names) sentences.push_back(fill(settings_.words + " {}.", name));
  fixed_features_ = encode_sentences(model_, sentences);
}

const Tensor& TowerPrompts::tensor(const std::string& name, std::size_t block) const {
  return learned_.at(fmt::format(fmt::runtime(name), block));
}

Tuning TowerPrompts::text_tuning() const {
  Tuning tuning;
  tuning.blocks.resize(static_cast<std::size_t>(settings_.text_depth));
  for (std::size_t block = 1; block < tuning.blocks.size(); ++block) {
    tuning.blocks[block].place = Place::kOverwriteAfterStart;
    tuning.blocks[block].tokens = tensor("text.{}", block).unsqueeze(0);
  }
  return tuning;
}

Tuning TowerPrompts::vision_tuning() const {
  Tuning tuning;
  tuning.blocks.resize(static_cast<std::size_t>(settings_.vision_depth));
  for (std::size_t block = 0; block < tuning.blocks.size(); ++block) {
    Tensor tokens;
    if (settings_.coupled) {
      const Tensor& source = block == 0 ? learned_.at("context") : tensor("text.{}", block);
      tokens = at::linear(source, tensor("coupling.{}.weight", block), tensor("coupling.{}.bias", block));
    } else {
      tokens = tensor("vision.{}", block);
    }
    tuning.blocks[block].place = settings_.place;
    tuning.blocks[block].tokens = tokens.unsqueeze(0);
  }
  return tuning;
}

Tensor TowerPrompts::class_features() const {
  if (!changes_text()) return fixed_features_;
  return model_.text->encode((*prompts_)(learned_.at("context")), text_tuning()).squeeze(0);
}

Tensor TowerPrompts::image_features(const Tensor& pixels) const {
  return model_.image->encode(pixels, vision_tuning()).global;
}

}  // namespace attune

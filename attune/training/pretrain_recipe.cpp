#include "attune/training/pretrain_recipe.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/training/clip_pretraining.h"

namespace attune {

Schema clip_pretraining_schema() {
  return {
      {"name", "pocket", "the model's name"},
      {"seed", 0, "every random choice follows from it"},
      {"tokenizer", "models/pocket/tokenizer.json", "tokenizer.json of the model, from the current folder"},
      {"benchmark", "models/pocket/emoji_dg.json", "concepts and subgroups that evaluations name"},
      {"model.width", 192, "width of both towers"},
      {"model.heads", 3, "attention heads of both towers"},
      {"model.patch", 16, "side of a patch, pixels"},
      {"model.image_layers", 6, "blocks of the image tower"},
      {"model.text_layers", 3, "blocks of the text tower"},
      {"model.context_length", 32, "most tokens of a text"},
      {"caption_tokens", 24, "training texts are cut to this many tokens"},
      {"optimiser.beta1", 0.9, "AdamW"},
      {"optimiser.beta2", 0.95, "AdamW"},
      {"optimiser.epsilon", 1e-6, "AdamW"},
      {"optimiser.weight_decay", 0.1, "of matrices; vectors have none"},
      {"optimiser.clip", 1.0, "largest norm of the gradient"},
      {"optimiser.last_rate", 0.02, "share of the learning rate at the end of a stage"},
      {"text.samples", 500000, "texts of the first stage"},
      {"text.batch", 256, "texts a step"},
      {"text.learning_rate", 1e-3, "at the top of the schedule"},
      {"text.warmup", 150, "steps of linear warm-up"},
      {"image.samples", 1000000, "drawings of the second stage"},
      {"image.batch", 256, "drawings a step"},
      {"image.learning_rate", 1e-3, "at the top of the schedule"},
      {"image.warmup", 300, "steps of linear warm-up"},
      {"image.emoji_only", 0.3, "share of the stage during which only emoji are drawn"},
      {"image.emoji_share", 0.6, "share of emoji after that"},
      {"joint.samples", 300000, "drawings of the third stage"},
      {"joint.batch", 256, "drawings a step"},
      {"joint.learning_rate", 3e-4, "at the top of the schedule"},
      {"joint.warmup", 150, "steps of linear warm-up"},
      {"joint.emoji_share", 0.6, "share of emoji"},
      {"joint.text_weight", 1.0, "weight of the regression on the sentence encoder"},
      {"joint.extra_texts", 64, "texts without drawings a step, for the regression"},
      {"evaluation.samples", 100000, "drawings between two evaluations"},
      {"checkpoint.minutes", 5.0, "between two checkpoints"},
  };
}

double PretrainStage::rate(std::int64_t step) const {
  const double warm = warmup > 0 ? static_cast<double>(step + 1) / static_cast<double>(warmup) : 1.0;
  if (fall) {
    const auto down = static_cast<double>(steps() - step) / static_cast<double>(std::max<std::int64_t>(1, *fall));
    return learning_rate * std::min({1.0, warm, down});
  }
  const auto after = static_cast<double>(std::max<std::int64_t>(0, step - warmup));
  const auto length = static_cast<double>(std::max<std::int64_t>(1, steps() - warmup));
  const double cosine = (1.0 + std::cos(M_PI * std::min(1.0, after / length))) / 2.0;
  return learning_rate * std::min(warm, last_rate + (1.0 - last_rate) * cosine);
}

double PretrainStage::share(std::int64_t step) const {
  return static_cast<double>(step) < emoji_only * static_cast<double>(steps()) ? 1.0 : emoji_share;
}

std::array<PretrainStage, 3> pretrain_stages(const Config& recipe) {
  std::array<PretrainStage, 3> stages;
  const std::array names = {"text", "image", "joint"};
  for (std::size_t i = 0; i < stages.size(); ++i) {
    PretrainStage& stage = stages[i];
    const auto key = [&](const char* name) { return fmt::format("{}.{}", names[i], name); };
    stage.kind = static_cast<PretrainStage::Kind>(i);
    stage.name = names[i];
    stage.samples = recipe.integer(key("samples"));
    stage.batch = recipe.integer(key("batch"));
    stage.learning_rate = recipe.number(key("learning_rate"));
    stage.last_rate = recipe.number("optimiser.last_rate");
    stage.warmup = recipe.integer(key("warmup"));
    if (stage.samples < 0 || stage.batch < 2 || stage.warmup < 0) {
      throw UsageError(
          fmt::format("recipe, stage {}: expected samples and warmup from 0 on and a batch of at least 2, "
                      "found {}, {} and {}",
                      stage.name, stage.samples, stage.warmup, stage.batch));
    }
  }
  stages[1].emoji_only = recipe.number("image.emoji_only");
  stages[1].emoji_share = recipe.number("image.emoji_share");
  stages[2].emoji_share = recipe.number("joint.emoji_share");
  stages[2].text_weight = recipe.number("joint.text_weight");
  stages[2].extra_texts = recipe.integer("joint.extra_texts");
  for (const PretrainStage& stage : stages) {
    if (stage.emoji_share < 0 || stage.emoji_share > 1) {
      throw UsageError(
          fmt::format("recipe, key '{}.emoji_share': expected 0 to 1, found {}", stage.name, stage.emoji_share));
    }
  }
  return stages;
}

ClipConfig pretrain_clip_config(const Config& recipe, std::int64_t image_size, std::int64_t joint_width) {
  const std::int64_t width = recipe.integer("model.width"), heads = recipe.integer("model.heads");
  const std::int64_t patch = recipe.integer("model.patch"), cut = recipe.integer("caption_tokens");
  ClipConfig config;
  config.name = recipe.text("name");
  config.joint_width = joint_width;
  config.text = {.width = width,
                 .layers = recipe.integer("model.text_layers"),
                 .heads = heads,
                 .hidden = 4 * width,
                 .context_length = recipe.integer("model.context_length"),
                 .activation = Activation::kGelu,
                 .pooling = Pooling::kFirstEnd};
  config.vision = {.image_size = image_size,
                   .width = width,
                   .layers = recipe.integer("model.image_layers"),
                   .heads = heads,
                   .hidden = 4 * width,
                   .patch = patch,
                   .activation = Activation::kGelu};
  if (heads < 1 || width < 1 || width % heads != 0 || patch < 1 || image_size % patch != 0 || cut < 3 ||
      cut > config.text.context_length || config.text.layers < 1 || config.vision.layers < 1) {
    throw UsageError(
        fmt::format("recipe: expected a width that is a multiple of the heads, a patch that divides {} "
                    "pixels, at least one block a tower and captions of 3 to context_length tokens, found "
                    "width {}, {} heads, patch {}, captions of {} tokens",
                    image_size, width, heads, patch, cut));
  }
  return config;
}

void check_same_recipe(const Config& recipe, const std::filesystem::path& kept) {
  Config former(recipe.schema());
  former.merge_yaml_file(kept);
  for (const Key& key : former.schema()) {
    if (key.name.ends_with(".samples") || key.name.ends_with(".minutes")) continue;
    if (former.value(key.name) != recipe.value(key.name)) {
      throw UsageError(fmt::format("{}: a run goes on only with its own recipe; key '{}': expected {}, found {}",
                                   kept.string(), key.name, former.value(key.name).dump(),
                                   recipe.value(key.name).dump()));
    }
  }
}

}  // namespace attune

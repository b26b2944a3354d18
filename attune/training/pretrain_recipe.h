#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "attune/base/config.h"
#include "attune/clip/model.h"

namespace attune {

/// One stage of the pre-training of a small CLIP, as a recipe gives it.
struct PretrainStage {
  enum class Kind { kText, kImage, kJoint } kind = Kind::kText;
  std::string name;  // "text", "image" or "joint": the prefix of its keys
  std::int64_t samples = 0;
  std::int64_t batch = 256;
  double learning_rate = 1e-3;
  double last_rate = 0.02;             // share of the learning rate at the end of the cosine
  std::int64_t warmup = 0;             // steps of linear warm-up
  std::optional<std::int64_t> fall{};  // steps of a line down to 0 at the end, in place of the cosine
  double emoji_only = 0.0;             // share of the stage during which only emoji are drawn
  double emoji_share = 1.0;            // share of emoji in a batch after that
  double text_weight = 0.0;            // of the regression term
  std::int64_t extra_texts = 0;        // texts without drawings a step, for the regression term

  std::int64_t steps() const { return samples / batch; }
  /// Linear warm-up, then a cosine down to last_rate at the stage's end; or, with `fall`, level and then down by a
  /// line, so that a stage that is made longer or shorter before it goes down is the one that had this length from the
  /// start.
  double rate(std::int64_t step) const;
  double share(std::int64_t step) const;
};

std::array<PretrainStage, 3> pretrain_stages(const Config& recipe);
/// The shape of the model that a recipe asks for; its vocabulary is the tokenizer's.
ClipConfig pretrain_clip_config(const Config& recipe, std::int64_t image_size, std::int64_t joint_width);
/// Throws UsageError that names the first key in which `recipe` differs from the recipe kept in a run's folder, except
/// those that only say how long stages are and how often things are written.
void check_same_recipe(const Config& recipe, const std::filesystem::path& kept);

}  // namespace attune

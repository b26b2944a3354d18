#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/methods/context.h"
#include "attune/methods/learner.h"

namespace attune {

/// Learned tokens in the blocks of both towers. Depths count the blocks that have tokens of their own, the first
/// included; a tower with fewer blocks has them in all.
struct TowerPromptSettings {
  std::int64_t text_tokens = 2;  // 0: the text is the fixed words and the name
  std::int64_t text_depth = 9;
  std::int64_t vision_tokens = 2;  // 0: the image tower stays as it is
  std::int64_t vision_depth = 9;
  std::string words = "a photo of a";  // before the names; the first of them are the start of the learned context
  double deviation = 0.02;
  Place place = Place::kAtEnd;  // of the image tower's tokens
  bool coupled = false;         // image tokens are linear functions of the text tokens (MaPLe)

  /// Keys text.tokens, text.depth, vision.tokens, vision.depth, vision.place, context.init and context.deviation.
  static Schema schema(const TowerPromptSettings& defaults);
  /// `defaults` gives what no key says.
  TowerPromptSettings(const Config& config, const TowerPromptSettings& defaults);
  TowerPromptSettings() = default;
};

/// The learned tensors of prompts in both towers and the features under them (Khattak et al. 2023, MaPLe, section 3.2;
/// PromptSRC; Jia et al. 2022, VPT). Names: "context" [n, width]; "text.<block>" [n, width]; "vision.<block>" [n,
/// vision width], or, coupled, "coupling.<block>.weight" [vision width, width] and ".bias".
class TowerPrompts {
 public:
  /// Throws UsageError that names `method` for image tokens where the image tower is no vision transformer.
  TowerPrompts(const ClipModel& model, const std::string& method, const TowerPromptSettings& settings,
               const ClassNames& classes, std::uint64_t seed);

  void set_classes(const ClassNames& classes);
  /// [C, d] with gradients to the text tokens.
  Tensor class_features() const;
  /// Of pixels [B, 3, size, size]: [B, d] with gradients to the image tokens.
  Tensor image_features(const Tensor& pixels) const;
  bool sees_pixels() const { return settings_.vision_tokens > 0; }
  bool changes_text() const { return settings_.text_tokens > 0; }
  /// The tensors themselves, which require gradients.
  const TensorMap& learned() const { return learned_; }

 private:
  void start_text(std::uint64_t seed);
  void start_vision(std::uint64_t seed);
  void start_coupling(std::uint64_t seed);
  const Tensor& tensor(const std::string& name, std::size_t block) const;
  Tuning text_tuning() const;
  Tuning vision_tuning() const;

  const ClipModel& model_;
  TowerPromptSettings settings_;
  std::vector<std::int64_t> words_;  // tokens of the settings' words
  TensorMap learned_;
  std::optional<ContextPrompts> prompts_;  // where there are text tokens
  Tensor fixed_features_;                  // [C, d], where there are none
};

}  // namespace attune

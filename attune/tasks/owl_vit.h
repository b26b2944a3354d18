#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attune/clip/model.h"
#include "attune/tasks/owl_weights.h"

namespace attune {

/// Behind this name changed weights of a detector stand among the tensors of an adapter.
inline constexpr const char* kChangedDetector = "detector.";

/// A frozen open-vocabulary detector: OWL-ViT, Minderer et al. 2022, "Simple Open-Vocabulary Object Detection with
/// Vision Transformers". The cells x_k of a CLIP image tower, each multiplied by the class token and normalised again,
/// give boxes and logits of queries q_c,
///   box_k = sigmoid(mlp(x_k) + bias_k),  logit_kc = (<W x_k / |W x_k|, q_c / |q_c|> + shift(x_k)) (elu(scale(x_k)) +
///   1),
/// so that boxes do not depend on what is searched for. One query stands for one concept. Thread-safe.
class OwlVit {
 public:
  /// Reads a Hugging Face folder of the type "owlvit", or "pocket-detector", the one that ships. `options.text` false:
  /// the text tower is not loaded at all; `options.image` false: only the text tower is. Errors name the file and what
  /// is missing. `changes` are what a second stage learned of the image side (detector_tuning.h), among the tensors of
  /// an adapter.
  static OwlVit load(const std::filesystem::path& name, const LoadOptions& options = {}, const TensorMap& changes = {});

  const std::string& name() const { return text_.config.name; }
  const std::string& weight_hash() const { return text_.weight_hash(); }
  const Preprocess& preprocess() const { return text_.preprocess; }
  bool has_text() const { return text_.text != nullptr; }
  /// d, the width of a query.
  std::int64_t width() const { return text_.config.joint_width; }
  std::int64_t cells() const { return cells_; }
  const ClipConfig& config() const { return text_.config; }
  const std::filesystem::path& folder() const { return text_.folder; }
  /// Throws Error where the image tower was not loaded.
  const OwlWeights<FrozenLinear>& weights() const;

  /// Queries [sentences, d] of unit length. Throws Error where the text tower was not loaded.
  Tensor queries(const std::vector<std::string>& sentences) const;
  /// pixels [B, 3, size, size], without gradients.
  Sight look(const Tensor& pixels) const;
  /// [B, K, C] of queries [C, d] or [C, n, d]; gradients reach the queries.
  static Tensor logits(const Sight& sight, const Tensor& queries) { return owl_logits(sight, queries); }

 private:
  ClipModel text_;  // the text side, and what both sides share
  std::shared_ptr<const OwlWeights<FrozenLinear>> weights_;
  Tuning tuning_;
  std::int64_t cells_ = 0;
};

}  // namespace attune

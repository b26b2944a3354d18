#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/optim/optimiser.h"
#include "attune/tasks/owl_weights.h"

namespace attune {

/// An OWL-ViT that trains: the towers of a small CLIP, whose positions are interpolated to larger pictures, with new
/// heads. The text tower stays as it is.
class DetectorModel {
 public:
  /// `base`: a Hugging Face folder of a CLIP whose text width is the joint width. The class head begins as the image
  /// tower's projection, boxes begin as their cells, and every answer as unlikely (inferred). Throws Error where the
  /// base does not fit.
  DetectorModel(const std::filesystem::path& base, std::int64_t size, const std::string& name, std::uint64_t seed);

  const ClipConfig& config() const { return config_; }
  const Preprocess& preprocess() const { return preprocess_; }
  /// pixels [B, 3, size, size], normalised.
  Sight see(const Tensor& pixels) const { return attune::see(config_.vision, weights_, pixels); }
  /// Queries [sentences, d] of unit length, by the frozen text tower, which is in memory for this call only.
  Tensor queries(const std::vector<std::string>& sentences) const;

  std::vector<Parameter> parameters() const { return parameters_of(attune::parameters_of(weights_)); }
  TensorMap state() const;
  /// Throws Error that names the first tensor that is missing or does not fit.
  void load_state(const TensorMap& state);

  /// A Hugging Face folder of the type owlvit with fp16 weights.
  void save_folder(const std::filesystem::path& folder) const;

 private:
  std::filesystem::path base_;
  ClipConfig config_;
  Preprocess preprocess_;
  NamedTensors frozen_;  // of the base's text side
  OwlWeights<Linear> weights_;
};

}  // namespace attune

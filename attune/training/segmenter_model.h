#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/optim/optimiser.h"
#include "attune/tasks/clipseg.h"

namespace attune {

/// What of a small segmenter its recipe chooses.
struct SegmenterShape {
  std::int64_t size = 96;             // side of the input, pixels
  std::vector<std::int64_t> extract;  // blocks whose activations are decoded
  std::int64_t width = 64, hidden = 256, heads = 4;
  bool complex_head = true;
};

/// The image tower of a folder that a SegmenterModel may begin with.
VisionConfig segmenter_base_vision(const std::filesystem::path& base);

/// A CLIPSeg that trains: the towers of a small CLIP with a new decoder. The text tower stays as it is.
class SegmenterModel {
 public:
  /// `base`: a Hugging Face folder of a CLIP, whose decoder is random, or of a segmenter of that shape, say one that
  /// saw smaller inputs. Throws UsageError where the shape does not fit it.
  SegmenterModel(const std::filesystem::path& base, const SegmenterShape& shape, std::uint64_t seed);

  const ClipSegConfig& config() const { return config_; }
  /// pixels [B, 3, size, size], normalised, and conditions [B, d] -> logits [B, size, size].
  Tensor logits(const Tensor& pixels, const Tensor& conditions) const;
  /// Conditions [sentences, d] by the frozen text tower, which is in memory for this call only.
  Tensor conditions(const std::vector<std::string>& sentences) const;

  /// The leaves that train: those of the image tower and of the decoder.
  std::vector<Parameter> parameters() const;
  TensorMap state() const;
  /// Throws Error that names the first tensor that is missing or does not fit.
  void load_state(const TensorMap& state);

  /// A Hugging Face folder of the type clipseg with fp16 weights.
  void save_folder(const std::filesystem::path& folder) const;

 private:
  std::filesystem::path base_;
  ClipSegConfig config_;
  NamedTensors frozen_;  // of the base's text side, and its projections
  VitWeights<Linear> tower_;
  MaskDecoder decoder_;
};

}  // namespace attune

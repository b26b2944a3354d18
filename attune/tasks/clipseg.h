#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attune/clip/model.h"
#include "attune/clip/vit.h"
#include "attune/tasks/mask_decoder.h"

namespace attune {

/// What the files of a "clipseg" folder say.
struct ClipSegConfig {
  ClipConfig clip;
  Preprocess preprocess;              // its size is that of the input, which may be larger than the tower's
  std::vector<std::int64_t> extract;  // blocks whose activations are decoded, in rising order, from 0
  MaskDecoderConfig decoder;
};

/// Throws Error that names the file and the key where something is missing, of the wrong type, or asks for another
/// architecture.
ClipSegConfig describe_clipseg(const std::filesystem::path& folder);

/// The weights of a folder, with the names of a CLIP (without "clip.") and of a decoder.
NamedTensors clipseg_tensors(const std::filesystem::path& folder);

/// Writes config.json, model.safetensors, preprocessor_config.json and tokenizer.json, such that transformers'
/// CLIPSegForImageSegmentation and ClipSeg load the folder. Of `parts` the ids and the tokenizer are taken; `tensors`
/// as clipseg_tensors names them, or as parameters of towers and decoder are named.
void write_clipseg_folder(const std::filesystem::path& folder, const ClipSegConfig& config, const FolderParts& parts,
                          const TensorMap& tensors, at::ScalarType type);

/// The activations [B, 1 + cells, width] after the blocks of `extract`, the deepest first, of pixels [B, 3, size,
/// size]. The tower's positions are stretched (bicubic) over another number of cells, as transformers does. A tuning
/// has low-rank deltas only. Throws Error for pixels that are not of a square with at least one patch.
template <class L>
std::vector<Tensor> extracted(const VisionConfig& config, const VitWeights<L>& weights, const Tensor& pixels,
                              const std::vector<std::int64_t>& extract, const Tuning& tuning = {});

extern template std::vector<Tensor> extracted(const VisionConfig&, const VitWeights<Linear>&, const Tensor&,
                                              const std::vector<std::int64_t>&, const Tuning&);
extern template std::vector<Tensor> extracted(const VisionConfig&, const VitWeights<FrozenLinear>&, const Tensor&,
                                              const std::vector<std::int64_t>&, const Tuning&);

/// The tower as far as its activations are decoded: later blocks take no part in a mask.
VisionConfig decoded_tower(const ClipSegConfig& config);
/// The leaves of a trainable tower and decoder that a mask depends on, by name.
TensorMap mask_parameters(const VitWeights<Linear>& tower, const MaskDecoder& decoder);

/// Behind this name changed weights of a segmenter stand among the tensors of an adapter.
inline constexpr const char* kChangedSegmenter = "segmenter.";

/// A frozen model that segments what it is conditioned by: CLIPSeg, Lueddecke and Ecker 2022. The activations of a CLIP
/// image tower go through a MaskDecoder; a condition is a text feature (not normalised), or any embedding in its place.
/// Thread-safe.
class ClipSeg {
 public:
  /// Reads a Hugging Face folder of the type "clipseg", or "pocket-segmenter", the one that ships. `options.text`
  /// false: the text tower is not loaded at all; `options.image` false: only the text tower is. Errors name the file
  /// and what is missing. `changes` are what a second stage learned of the image side (segmenter_tuning.h), among the
  /// tensors of an adapter.
  static ClipSeg load(const std::filesystem::path& folder, const LoadOptions& options = {},
                      const TensorMap& changes = {});

  const std::string& name() const { return text_.config.name; }
  const std::string& weight_hash() const { return text_.weight_hash(); }
  const Preprocess& preprocess() const { return text_.preprocess; }
  const std::filesystem::path& folder() const { return text_.folder; }
  bool has_text() const { return text_.text != nullptr; }
  /// d, the width of a condition.
  std::int64_t width() const { return text_.config.joint_width; }

  /// Conditions [sentences, d], not normalised. Throws Error where the text tower was not loaded.
  Tensor conditions(const std::vector<std::string>& sentences) const;
  /// pixels [B, 3, size, size] -> activations [B, 1 + cells, width], the deepest first, without gradients.
  std::vector<Tensor> look(const Tensor& pixels) const;
  /// The same with these low-rank deltas of the tower in place of its own, and with gradients to them.
  std::vector<Tensor> look_tuned(const Tensor& pixels, const Tuning& tuning) const;
  /// Logits [B, size, size] of pixels under conditions [B, d]; gradients reach the conditions.
  Tensor logits(const std::vector<Tensor>& activations, const Tensor& conditions) const;

 private:
  ClipModel text_;  // the text side, and what both sides share
  std::shared_ptr<const VitWeights<FrozenLinear>> vision_;
  std::shared_ptr<const MaskDecoder> decoder_;
  std::vector<std::int64_t> extract_;
  Tuning tuning_;
};

}  // namespace attune

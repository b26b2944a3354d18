#pragma once

#include <cstdint>
#include <vector>

#include "attune/clip/weights.h"

namespace attune {

/// Sizes of a mask decoder.
struct MaskDecoderConfig {
  std::int64_t tower_width = 768;  // of the activations
  std::int64_t joint_width = 512;  // d, of what it is conditioned by
  std::int64_t width = 64, hidden = 2048, heads = 4, layers = 3;
  std::int64_t conditioned = 0;  // the layer before which the condition enters, 0 the deepest activation's
  std::int64_t patch = 16;       // pixels a cell becomes
  bool complex_head = false;
  double norm_epsilon = 1e-5;

  /// Pixels that a cell becomes: those of the patch, or what the two steps of the complex head make of them.
  std::int64_t cell_pixels() const { return complex_head ? (patch / 4) * (patch / 4) : patch; }
};

/// The decoder of CLIPSeg (Lueddecke and Ecker 2022, "Image Segmentation Using Text and Image Prompts", section 3).
/// With the activations a_1, a_2, ... of some blocks of an image tower, the deepest first, and a condition c [d],
///   h_i = block_i(R_i a_i + h_{i-1}),  where the condition enters  block_i(film_mul(c) * (R_i a_i + h_{i-1}) +
///   film_add(c)),
/// with blocks that are normalised after attention and after the perceptron; the cells of the last h become pixels by a
/// transposed convolution, or (complex) by a 3 x 3 convolution and two transposed ones with ReLU between them.
class MaskDecoder {
 public:
  /// From the tensors "decoder...." of a Hugging Face folder, or those of parameters(); on the device where they lie.
  /// `trains`: they require gradients. Throws Error as NamedTensors::take.
  MaskDecoder(const MaskDecoderConfig& config, const NamedTensors& source, bool trains);

  /// activations: [B, 1 + cells, tower width], the deepest first; conditions [B, d] -> logits [B, size, size] of
  /// pixels. Gradients reach the conditions. Throws Error where the cells are not those of a square.
  Tensor logits(const std::vector<Tensor>& activations, const Tensor& conditions) const;

  const MaskDecoderConfig& config() const { return config_; }
  /// The tensors by name, q, k and v fused under "qkv_proj".
  TensorMap parameters() const;

 private:
  Tensor to_pixels(const Tensor& cells) const;

  MaskDecoderConfig config_;
  Linear film_mul_, film_add_;
  std::vector<Linear> reduces_;
  Transformer<Linear> transformer_;
  TensorMap head_;  // of the convolutions, under their names
};

/// Random tensors for a training from nothing: Xavier-uniform matrices, a condition that changes little at first.
TensorMap random_decoder_tensors(const MaskDecoderConfig& config, std::uint64_t seed);

}  // namespace attune

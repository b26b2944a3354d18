#pragma once

#include "attune/clip/model.h"
#include "attune/clip/transformer.h"

namespace attune {

/// The parameters of a vision transformer; L is Linear where they train, FrozenLinear where they don't.
template <class L>
struct VitWeights {
  L patch;             // [width, 3 * patch * patch], no bias: the patch convolution as a matrix
  Tensor class_token;  // [width]
  Tensor positions;    // [1 + cells, width]
  LayerNorm before, after;
  Transformer<L> transformer;
  L projection;  // [d, width], no bias
};

/// The one forward of the vision transformer: pixels [B, 3, size, size] -> features. Local features are the projection
/// of `after` of the patch rows of the last block; unless they are asked for, that block is finished for the class row
/// only. Tokens of a tuning stand after the class token or at the end; those of block 0 enter before `before`, later
/// ones replace those of the blocks before them (and are added where there were none).
template <class L>
ImageFeatures encode_vit(const VisionConfig& config, const VitWeights<L>& weights, const Tensor& pixels,
                         const Tuning& tuning = {}, bool local = false);

extern template ImageFeatures encode_vit(const VisionConfig&, const VitWeights<Linear>&, const Tensor&, const Tuning&,
                                         bool);
extern template ImageFeatures encode_vit(const VisionConfig&, const VitWeights<FrozenLinear>&, const Tensor&,
                                         const Tuning&, bool);

/// Throws Error unless pixels are [B, 3, size, size].
void check_pixels(const VisionConfig& config, const Tensor& pixels);

std::shared_ptr<const ImageTower> make_vit(const VisionConfig& config, VitWeights<FrozenLinear> weights);

}  // namespace attune

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
/// ones replace those of the blocks before them (and are added where there were none). `first` is the number of the
/// first picture in a call that was cut: dropout is keyed by it.
template <class L>
ImageFeatures encode_vit(const VisionConfig& config, const VitWeights<L>& weights, const Tensor& pixels,
                         const Tuning& tuning = {}, bool local = false, std::int64_t first = 0);

extern template ImageFeatures encode_vit(const VisionConfig&, const VitWeights<Linear>&, const Tensor&, const Tuning&,
                                         bool, std::int64_t);
extern template ImageFeatures encode_vit(const VisionConfig&, const VitWeights<FrozenLinear>&, const Tensor&,
                                         const Tuning&, bool, std::int64_t);

/// One block on sequences [B, T, width] in which every row sees every other -> [B, kept, width]: only the first `kept`
/// rows are finished. `names` [B, T] int64 key the tuning's dropout, see add_low_rank.
template <class L>
Tensor full_block(const Block<L>& block, std::int64_t heads, Activation activation, const Tensor& sequence,
                  std::int64_t kept, const BlockTuning& tuning = {}, const Tensor& names = {});

extern template Tensor full_block(const Block<Linear>&, std::int64_t, Activation, const Tensor&, std::int64_t,
                                  const BlockTuning&, const Tensor&);
extern template Tensor full_block(const Block<FrozenLinear>&, std::int64_t, Activation, const Tensor&, std::int64_t,
                                  const BlockTuning&, const Tensor&);

/// For pictures of so many rows; a part and what is kept are whole pictures.
GraphLimits vit_graph_limits(const VisionConfig& config, std::int64_t rows, const Tuning& tuning = {});

/// Pixels [B, 3, size, size] -> [B, cells, 3 * patch * patch], in the order of a convolution's weights; what is left
/// beyond the last whole patch is cut off.
Tensor patches_of(const Tensor& pixels, std::int64_t patch);

/// Throws Error unless pixels are [B, 3, size, size].
void check_pixels(const VisionConfig& config, const Tensor& pixels);

std::shared_ptr<const ImageTower> make_vit(const VisionConfig& config, VitWeights<FrozenLinear> weights);

}  // namespace attune

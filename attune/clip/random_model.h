#pragma once

#include "attune/clip/model.h"

namespace attune {

/// CLIP ViT-B/16: 86 M parameters in the image tower, 63 M in the text tower.
ClipConfig vit_b16_config();

/// A model of this shape with random weights that lie in memory only, and pocket's tokenizer and preprocessing at the
/// tower's size: it takes as long as a trained one and knows nothing. Towers that `options` leaves out are not made.
/// Throws Error where the vocabulary of `config` is smaller than the tokenizer's.
ClipModel random_model(const ClipConfig& config, std::uint64_t seed, const LoadOptions& options = {});

}  // namespace attune

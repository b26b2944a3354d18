#pragma once

#include <cstdint>

#include "attune/tensors/tensor.h"

namespace attune {

/// Premultiplied drawings rgba [B, S, S, 4] U8 as varied pictures on a random ground: [B, 3, S, S] fp32 in 0..1. One
/// affine resampling (zoom 0.83-1.67, +-15 degrees, aspect, shift, mirror) and one linear mix of the colours, both of
/// which keep premultiplied alpha valid. Monochrome drawings (mono [B] bool) get a random ink through their alpha. The
/// numbers depend on (seed, step) alone.
Tensor vary_drawings(const Tensor& rgba, const Tensor& mono, std::uint64_t seed, std::int64_t step);

/// Premultiplied drawings on white: [B, S, S, 4] U8 -> [B, 3, S, S] fp32 in 0..1.
Tensor plain_drawings(const Tensor& rgba);

/// (pixels - mean) / deviation by channel, with CLIP's constants.
Tensor normalise_pixels(const Tensor& pixels);

}  // namespace attune

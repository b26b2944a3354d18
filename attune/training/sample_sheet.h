#pragma once

#include <cstdint>
#include <vector>

#include "attune/diffusion/sampler.h"
#include "attune/diffusion/unet.h"
#include "attune/images/image.h"

namespace attune {

/// How maps are made of noise.
struct DrawSettings {
  std::int64_t steps = 25;
  double guidance = 4.0;  // 1: none
  std::uint64_t seed = 0;
};

/// Maps [B, C, side, side] that a network makes of noise under hidden rows [B, n, w], guided away from `empty` [1, n',
/// w] (Ho and Salimans 2022): f(empty) + guidance (f(hidden) - f(empty)). Map i begins with the same noise whatever its
/// rows.
Tensor draw_maps(const UNet& network, const SamplerConfig& sampler, std::int64_t side, const Tensor& hidden,
                 const Tensor& empty, const DrawSettings& settings);

/// Pictures [B, 3, size, size] within -1 to 1 beside each other in rows of `columns`, on white, small ones enlarged.
Image sheet_of(const Tensor& pictures, std::int64_t columns);

}  // namespace attune

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "attune/diffusion/diffusion_folder.h"
#include "attune/images/image.h"

namespace attune {

/// What pictures are steered by: classifier-free guidance (Ho and Salimans 2022),
///   f(empty) + scale (f(hidden) - f(empty)).
struct Steering {
  Tensor hidden;                   // [1, n, w], or [pictures, n, w] where each has its own
  Tensor empty;                    // [1, n', w], what is guided away from; undefined where `scale` is 1
  double scale = kLatentGuidance;  // 1: `hidden` alone, and the network is asked once a step instead of twice
};

struct GenerateSettings {
  SamplerConfig sampler;
  std::int64_t steps = 50;
  std::int64_t side = 64;  // of the maps
  std::uint64_t seed = 1;
};

/// Clean maps [count, C, side, side] of the pictures `first` ... of a seed, without gradients. A picture's noise
/// depends on the seed and its number alone. `stepped` is called after every step; where it says false the maps are
/// left as they are. Throws UsageError as make_sampler and where guidance has nothing to guide away from.
Tensor generate_maps(const UNet& network, const Steering& steering, const GenerateSettings& settings,
                     std::int64_t first, std::int64_t count, const std::function<bool()>& stepped = {});

/// Pictures that are made at once: as many as keep the maps small beside the weights.
std::int64_t pictures_at_once(std::int64_t side);

/// Pixels [3, H, W] within -1 to 1, cut off there, as 8-bit colours.
Image colours_of(const Tensor& pixels);
/// Each of the pictures [N, 3, H, W] likewise.
std::vector<Image> all_colours_of(const Tensor& pixels);

}  // namespace attune

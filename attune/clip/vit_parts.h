#pragma once

#include "attune/clip/vit.h"

namespace attune {

/// How a call of the image tower is divided.
struct VitParts {
  std::int64_t count = 1;          // at most the pictures
  std::int64_t kept_pictures = 0;  // graphs of parts among the first so many are kept for the backward
};

/// The vision transformer some pictures at a time, see tower_parts.h. Tokens of the tuning are one set, or one a
/// picture.
ImageFeatures encode_vit_in_parts(const VisionConfig& config, const VitWeights<FrozenLinear>& weights,
                                  const Tensor& pixels, const Tuning& tuning, bool local, const VitParts& parts);

}  // namespace attune

#pragma once

#include <vector>

#include "attune/base/config.h"
#include "attune/data/composites.h"
#include "attune/images/preprocess.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// How views for a segmenter are cut out of scenes.
struct ViewSettings {
  double margin = 0.2;     // of a box's sides, on each side
  double jitter = 0.1;     // most that an edge of a box is wrong, as a share of the side
  double parts = 0.15;     // share of views that are larger parts of a scene
  double others = 0.15;    // share of views under a name of which they show nothing
  std::int64_t views = 4;  // of a scene

  static Schema schema();
  explicit ViewSettings(const Config& recipe);
};

/// Views of scenes: what a segmenter sees, what it is asked for and what it should answer.
struct SegmenterViews {
  Tensor pixels;                         // [B, 3, size, size], normalised
  std::vector<std::int64_t> categories;  // B; index into Drawings::categories
  Tensor targets;                        // [B, size, size], shares of the pixels that are within
};

/// The views of scenes that are made of `categories` kinds of drawings, by (seed, index of the first scene) alone.
/// Scenes without an object give none.
SegmenterViews segmenter_views(const std::vector<Composite>& scenes, std::int64_t categories,
                               const ViewSettings& settings, const Preprocess& preprocess, std::uint64_t seed,
                               std::uint64_t first);

}  // namespace attune

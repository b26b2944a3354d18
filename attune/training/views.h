#pragma once

#include <cstdint>

#include "attune/base/config.h"
#include "attune/images/preprocess.h"

namespace attune {

/// Which views of the training samples the steps see. View 0 is the centre view of evaluation; view k >= 1 is the k-th
/// random view, keyed by (seed, k, sample).
struct ViewPlan {
  enum class Kind {
    kAugmented,  // a new random view every epoch: exactly the published training
    kCached,     // drawn from the centre view and `count` random views that are computed once
    kCentre,     // the centre view only
  } kind = Kind::kAugmented;
  std::int64_t count = 4;
  Augmentation augmentation;

  static Schema schema();
  ViewPlan() = default;
  explicit ViewPlan(const Config& config);

  /// Views that all epochs together need, for the estimate.
  std::int64_t views(std::int64_t epochs) const;
  /// The view of a sample in an epoch.
  std::int64_t view(std::uint64_t seed, std::int64_t epoch, std::int64_t sample) const;
};

}  // namespace attune

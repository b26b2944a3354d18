#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attune/data/dataset.h"
#include "attune/images/image.h"

namespace attune {

/// A picture as the pixel floor sees it: 16 x 16 RGB values, their mean subtracted, of unit length [768]. A picture of
/// one colour gives zeros.
std::vector<float> pixel_feature(const Image& image);

struct PixelFloor {
  std::int64_t right = 0;
  std::int64_t pictures = 0;
  double accuracy() const { return pictures == 0 ? 0 : static_cast<double>(right) / static_cast<double>(pictures); }
};

/// What no method should fall below: how often the nearest picture of a gallery (largest cosine of pixel features, the
/// first on a tie) has the label of the query.
class PixelGallery {
 public:
  /// Reads every picture of `samples`. Throws UsageError where there are none.
  PixelGallery(const Dataset& dataset, std::vector<Sample> samples, int threads = 2);

  /// With `other_concepts`, gallery pictures of the query's own concept do not count. Reads every query. Throws
  /// UsageError where `queries` is empty or nothing is left to compare with.
  PixelFloor floor(const Dataset& dataset, std::span<const Sample> queries, bool other_concepts, int threads = 2) const;

 private:
  std::vector<Sample> samples_;
  std::vector<std::vector<float>> features_;
};

}  // namespace attune

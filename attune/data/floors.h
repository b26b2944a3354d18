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

/// How often the nearest gallery picture (largest cosine of pixel features, the first on a tie) has the label of the
/// query: what no method should fall below. With `other_concepts`, gallery pictures of the query's own concept do not
/// count. Reads every picture. Throws UsageError where gallery or queries are empty or nothing is left to compare with.
PixelFloor pixel_floor(const Dataset& dataset, std::span<const Sample> gallery, std::span<const Sample> queries,
                       bool other_concepts, int threads = 2);

}  // namespace attune

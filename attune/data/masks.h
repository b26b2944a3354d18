#pragma once

#include <cstdint>
#include <vector>

#include "attune/base/json.h"
#include "attune/data/boxes.h"

namespace attune {

/// Which pixels of a picture belong to an object, row by row from the top.
struct Mask {
  int width = 0, height = 0;
  std::vector<std::uint8_t> inside;  // [height * width], 0 or 1

  std::int64_t area() const;
  /// The smallest box that holds every pixel; empty at the origin where there is none.
  Box bounds() const;
  friend bool operator==(const Mask&, const Mask&) = default;
};

/// COCO's uncompressed run lengths: {"size": [height, width], "counts": [outside, inside, outside, ...]}, column by
/// column from the left.
Json run_lengths(const Mask& mask);

}  // namespace attune

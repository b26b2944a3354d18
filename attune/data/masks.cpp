#include "attune/data/masks.h"

#include <algorithm>
#include <numeric>

namespace attune {

std::int64_t Mask::area() const {
  return std::accumulate(inside.begin(), inside.end(), std::int64_t{0});
}

Box Mask::bounds() const {
  int left = width, top = height, right = 0, bottom = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (inside[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] == 0) {
        continue;
      }
      left = std::min(left, x);
      right = std::max(right, x + 1);
      top = std::min(top, y);
      bottom = y + 1;
    }
  }
  if (right == 0) return {};
  return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(right - left),
          static_cast<double>(bottom - top)};
}

Json run_lengths(const Mask& mask) {
  std::vector<std::int64_t> counts = {0};
  std::uint8_t current = 0;
  for (int x = 0; x < mask.width; ++x) {
    for (int y = 0; y < mask.height; ++y) {
      const std::uint8_t here =
          mask.inside[static_cast<std::size_t>(y) * static_cast<std::size_t>(mask.width) + static_cast<std::size_t>(x)];
      if (here != current) counts.push_back(0);
      current = here;
      ++counts.back();
    }
  }
  return {{"size", {mask.height, mask.width}}, {"counts", counts}};
}

}  // namespace attune

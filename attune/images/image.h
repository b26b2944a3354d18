#pragma once

#include <cstdint>
#include <vector>

namespace attune {

/// A picture of 8-bit RGB pixels, row by row from the top, without padding.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // [height * width * 3]

  friend bool operator==(const Image&, const Image&) = default;
};

/// A picture with opacity: 8-bit RGBA, not premultiplied.
struct AlphaImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgba;  // [height * width * 4]
};

}  // namespace attune

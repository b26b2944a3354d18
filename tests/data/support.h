#pragma once

#include <filesystem>
#include <string>

#include "attune/base/files.h"
#include "attune/images/encode.h"
#include "attune/images/image.h"
#include "tests/support/error_of.h"

namespace attune {

/// A picture whose every byte depends on `seed`.
inline Image test_image(int width, int height, unsigned seed) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (std::size_t i = 0; i < image.rgb.size(); ++i) {
    image.rgb[i] = static_cast<std::uint8_t>((i * 7 + seed * 131 + i * i * (seed + 3)) >> 2);
  }
  return image;
}

inline void write_picture(const std::filesystem::path& path, unsigned seed, int side = 12) {
  write_file(path, encode_png(test_image(side, side, seed)));
}

}  // namespace attune

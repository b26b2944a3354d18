#include "attune/images/sheet.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr int kGap = 4, kSmallest = 96;  // pixels between pictures; side of a picture at least
constexpr std::int64_t kMostSheetPixels = 64'000'000;

/// Every pixel as a square of `factor` by `factor`.
Image enlarged(const Image& image, int factor) {
  Image large{image.width * factor, image.height * factor, {}};
  large.rgb.reserve(image.rgb.size() * static_cast<std::size_t>(factor) * static_cast<std::size_t>(factor));
  for (int y = 0; y < large.height; ++y) {
    const std::uint8_t* row = image.rgb.data() + static_cast<std::ptrdiff_t>(y / factor) * image.width * 3;
    for (int x = 0; x < large.width; ++x) {
      const std::uint8_t* pixel = row + static_cast<std::ptrdiff_t>(x / factor) * 3;
      large.rgb.insert(large.rgb.end(), pixel, pixel + 3);
    }
  }
  return large;
}

}  // namespace

void paste(const Image& image, Image& sheet, int left, int top) {
  for (int y = 0; y < image.height; ++y) {
    const auto from = image.rgb.begin() + static_cast<std::ptrdiff_t>(y) * image.width * 3;
    const auto to = sheet.rgb.begin() + (static_cast<std::ptrdiff_t>(top + y) * sheet.width + left) * 3;
    std::copy_n(from, static_cast<std::ptrdiff_t>(image.width) * 3, to);
  }
}

Image picture_sheet(const std::vector<Image>& pictures, int columns) {
  if (pictures.empty() || columns < 1) {
    throw UsageError(fmt::format("sheet: expected pictures and columns, found {} and {}", pictures.size(), columns));
  }
  const int width = pictures.front().width, height = pictures.front().height;
  const int factor = std::max(1, (kSmallest + std::min(width, height) - 1) / std::min(width, height));
  const auto count = static_cast<std::int64_t>(pictures.size());
  const std::int64_t across = std::min<std::int64_t>(columns, count), down = (count + across - 1) / across;
  const std::int64_t side_x = std::int64_t{width} * factor + kGap, side_y = std::int64_t{height} * factor + kGap;
  const std::int64_t whole_x = across * side_x + kGap, whole_y = down * side_y + kGap;
  if (whole_x > kMostSheetPixels / whole_y) {
    throw UsageError(
        fmt::format("sheet: expected at most {} pixels, found {} x {}", kMostSheetPixels, whole_x, whole_y));
  }
  Image sheet{static_cast<int>(whole_x), static_cast<int>(whole_y), {}};
  sheet.rgb.assign(static_cast<std::size_t>(whole_x * whole_y) * 3, 255);
  for (std::int64_t i = 0; i < count; ++i) {
    const Image& picture = pictures[static_cast<std::size_t>(i)];
    if (picture.width != width || picture.height != height) {
      throw UsageError(fmt::format("sheet: expected pictures of {} x {}, found one of {} x {}", width, height,
                                   picture.width, picture.height));
    }
    paste(enlarged(picture, factor), sheet, static_cast<int>(kGap + i % across * side_x),
          static_cast<int>(kGap + i / across * side_y));
  }
  return sheet;
}

}  // namespace attune

#include "attune/images/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/images/resample.h"

namespace attune {
namespace {

struct Size {
  int width = 0;
  int height = 0;
};

Size short_side_size(const Image& image, int size) {
  if (size < 1 || image.width < 1 || image.height < 1) {
    throw Error(fmt::format("resize_short_side: expected a size of at least 1 and a picture, found {} and {} x {}",
                            size, image.width, image.height));
  }
  const auto longer = [&](int shorter_side, int longer_side) {
    const std::int64_t pixels = std::int64_t{size} * longer_side / shorter_side;
    if (pixels > INT32_MAX) {
      throw Error(fmt::format("resize_short_side: a picture of {} x {} is too long for a shorter side of {}",
                              image.width, image.height, size));
    }
    return static_cast<int>(pixels);
  };
  if (image.width <= image.height) return {size, longer(image.width, image.height)};
  return {longer(image.height, image.width), size};
}

/// First row (or column) of the centre crop; negative where the picture is smaller than the crop.
int crop_begin(int length, int size, CropConvention convention) {
  const int margin = length - size;
  if (convention == CropConvention::kTorchvision) {
    return margin >= 0 ? static_cast<int>(std::nearbyint(margin / 2.0)) : -(-margin / 2);
  }
  return margin >= 0 ? margin / 2 : -((-margin + 1) / 2);
}

/// torchvision's RandomResizedCrop.get_params, with uniform numbers in its order: area, ratio, ..., top, left.
PixelBox random_box(const Image& image, const Augmentation& augmentation, KeyedRandom& random) {
  constexpr double kNarrowest = 3.0 / 4.0, kWidest = 4.0 / 3.0;
  const int width = image.width, height = image.height;
  const double area = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.uniform(augmentation.smallest, augmentation.largest);
    const double ratio = std::exp(random.uniform(std::log(kNarrowest), std::log(kWidest)));
    const double crop_width = std::nearbyint(std::sqrt(target * ratio));
    const double crop_height = std::nearbyint(std::sqrt(target / ratio));
    if (crop_width < 1 || crop_width > width || crop_height < 1 || crop_height > height) continue;
    PixelBox box{0, 0, static_cast<int>(crop_width), static_cast<int>(crop_height)};
    box.top = static_cast<int>(random.below(static_cast<std::uint64_t>(height - box.height) + 1));
    box.left = static_cast<int>(random.below(static_cast<std::uint64_t>(width - box.width) + 1));
    return box;
  }
  PixelBox box{0, 0, width, height};
  const double ratio = static_cast<double>(width) / height;
  if (ratio < kNarrowest) box.height = std::min(height, static_cast<int>(std::nearbyint(width / kNarrowest)));
  if (ratio > kWidest) box.width = std::min(width, static_cast<int>(std::nearbyint(height * kWidest)));
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

void flip(Image& image) {
  const std::size_t width = static_cast<std::size_t>(image.width);
  for (std::size_t row = 0; row < image.rgb.size(); row += width * 3) {
    std::uint8_t* pixels = image.rgb.data() + row;
    for (std::size_t left = 0, right = width - 1; left < right; ++left, --right) {
      std::swap_ranges(pixels + 3 * left, pixels + 3 * left + 3, pixels + 3 * right);
    }
  }
}

}  // namespace

Image resize(const Image& image, int width, int height, Filter filter) {
  return resample(image, {0, 0, image.width, image.height}, width, height, {0, 0, width, height}, filter);
}

Image resize_short_side(const Image& image, int size, Filter filter) {
  const Size to = short_side_size(image, size);
  return resize(image, to.width, to.height, filter);
}

Image centre_crop(const Image& image, int size, CropConvention convention) {
  if (size < 1) throw Error(fmt::format("centre_crop: expected a size of at least 1, found {}", size));
  const int left = crop_begin(image.width, size, convention), top = crop_begin(image.height, size, convention);
  Image out{size, size, {}};
  const auto row_bytes = static_cast<std::size_t>(size) * 3;
  out.rgb.resize(row_bytes * static_cast<std::size_t>(size));
  const int first_x = std::max(left, 0), last_x = std::min(left + size, image.width);
  if (first_x >= last_x) return out;
  for (int y = 0; y < size; ++y) {
    if (y + top < 0 || y + top >= image.height) continue;
    const std::size_t from = static_cast<std::size_t>(y + top) * static_cast<std::size_t>(image.width);
    std::memcpy(out.rgb.data() + static_cast<std::size_t>(y) * row_bytes + static_cast<std::size_t>(first_x - left) * 3,
                image.rgb.data() + (from + static_cast<std::size_t>(first_x)) * 3,
                static_cast<std::size_t>(last_x - first_x) * 3);
  }
  return out;
}

Image crop(const Image& image, int left, int top, int width, int height) {
  if (left < 0 || top < 0 || width < 1 || height < 1 || width > image.width - left || height > image.height - top) {
    throw Error(fmt::format("crop: expected a rectangle within {} x {} pixels, found {} x {} at {}, {}", image.width,
                            image.height, width, height, left, top));
  }
  Image out{width, height, {}};
  const auto row_bytes = static_cast<std::ptrdiff_t>(width) * 3;
  out.rgb.reserve(static_cast<std::size_t>(row_bytes) * static_cast<std::size_t>(height));
  for (int y = top; y < top + height; ++y) {
    const auto row = image.rgb.begin() + (static_cast<std::ptrdiff_t>(y) * image.width + left) * 3;
    out.rgb.insert(out.rgb.end(), row, row + row_bytes);
  }
  return out;
}

Image centre_view(const Image& image, const Preprocess& preprocess) {
  const int size = preprocess.size;
  const Size whole = short_side_size(image, size);
  const PixelBox window{crop_begin(whole.width, size, preprocess.crop), crop_begin(whole.height, size, preprocess.crop),
                        size, size};
  return resample(image, {0, 0, image.width, image.height}, whole.width, whole.height, window, preprocess.filter);
}

Image random_view(const Image& image, const Preprocess& preprocess, const Augmentation& augmentation,
                  KeyedRandom& random) {
  if (!(augmentation.smallest > 0 && augmentation.smallest <= augmentation.largest && augmentation.largest <= 1)) {
    throw Error(fmt::format("random_view: expected shares of the area 0 < smallest <= largest <= 1, found {} and {}",
                            augmentation.smallest, augmentation.largest));
  }
  const int size = preprocess.size;
  const PixelBox box = random_box(image, augmentation, random);
  Image view = resample(image, box, size, size, {0, 0, size, size}, preprocess.filter);
  if (random.chance(augmentation.flip)) flip(view);
  return view;
}

void normalise(const Image& image, const Preprocess& preprocess, float* out) {
  const std::size_t pixels = image.rgb.size() / 3;
  for (std::size_t c = 0; c < 3; ++c) {
    std::array<float, 256> table{};
    for (std::size_t value = 0; value < 256; ++value) {
      table[value] = (static_cast<float>(value) / 255.0F - preprocess.mean[c]) / preprocess.deviation[c];
    }
    const std::uint8_t* in = image.rgb.data() + c;
    float* plane = out + c * pixels;
    for (std::size_t i = 0; i < pixels; ++i) plane[i] = table[in[3 * i]];
  }
}

}  // namespace attune

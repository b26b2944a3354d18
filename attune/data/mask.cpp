#include "attune/data/mask.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/boxes.h"

namespace attune {
namespace {

/// Goes through two masks of one size in stretches in which neither changes.
template <class Visit>
void walk(const Mask& a, const Mask& b, const Visit& visit) {
  std::size_t i = 0, j = 0;
  std::uint32_t left = 0, right = 0;
  while (true) {
    while (left == 0 && i < a.runs.size()) left = a.runs[i++];
    while (right == 0 && j < b.runs.size()) right = b.runs[j++];
    const std::uint32_t length = std::min(left, right);
    if (length == 0) return;
    visit(length, i % 2 == 0, j % 2 == 0);  // i and j stand behind the run, and the second one is inside
    left -= length;
    right -= length;
  }
}

void expect_one_size(const Mask& a, const Mask& b) {
  if (a.width != b.width || a.height != b.height) {
    throw Error(fmt::format("masks: expected two of one size, found {} x {} and {} x {}", a.width, a.height, b.width,
                            b.height));
  }
}

/// Adds stretches of pixels to a mask.
class Runs {
 public:
  void add(std::uint32_t length, bool inside) {
    if (length == 0) return;
    if (inside == inside_) {
      current_ += length;
      return;
    }
    runs_.push_back(current_);
    current_ = length;
    inside_ = inside;
  }
  std::vector<std::uint32_t> finish() {
    runs_.push_back(current_);
    return std::move(runs_);
  }

 private:
  std::vector<std::uint32_t> runs_;
  std::uint32_t current_ = 0;
  bool inside_ = false;
};

}  // namespace

void check_mask_size(std::int64_t width, std::int64_t height, const std::string& where) {
  if (width < 1 || height < 1 || width > kMostMaskPixels / height) {
    throw Error(
        fmt::format("{}: expected a mask of 1 to {} pixels, found {} x {}", where, kMostMaskPixels, width, height));
  }
}

std::int64_t Mask::area() const {
  std::int64_t sum = 0;
  for (std::size_t i = 1; i < runs.size(); i += 2) sum += runs[i];
  return sum;
}

Mask mask_of_pixels(std::int64_t width, std::int64_t height, const std::vector<std::uint8_t>& pixels) {
  check_mask_size(width, height, "mask");
  if (width * height != std::ssize(pixels)) {
    throw Error(fmt::format("mask: expected {} x {} pixels, found {}", width, height, pixels.size()));
  }
  Runs runs;
  for (std::int64_t x = 0; x < width; ++x) {
    for (std::int64_t y = 0; y < height; ++y) runs.add(1, pixels[static_cast<std::size_t>(y * width + x)] != 0);
  }
  return {width, height, runs.finish()};
}

std::vector<std::uint8_t> pixels_of(const Mask& mask) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(mask.width * mask.height));
  std::int64_t place = 0;
  for (std::size_t i = 0; i < mask.runs.size(); ++i) {
    for (std::int64_t end = place + mask.runs[i]; place < end; ++place) {
      const std::int64_t x = place / mask.height, y = place % mask.height;
      pixels[static_cast<std::size_t>(y * mask.width + x)] = i % 2;
    }
  }
  return pixels;
}

Image picture_of(const Mask& mask) {
  Image image{static_cast<int>(mask.width), static_cast<int>(mask.height), {}};
  for (const std::uint8_t pixel : pixels_of(mask)) image.rgb.insert(image.rgb.end(), 3, pixel != 0 ? 255 : 0);
  return image;
}

Mask mask_of_box(std::int64_t width, std::int64_t height, const Box& box) {
  check_mask_size(width, height, "mask of a box");
  // The first pixel whose middle is not before `at`.
  const auto first = [](double at, std::int64_t most) {
    return static_cast<std::int64_t>(std::clamp(std::ceil(at - 0.5), 0.0, static_cast<double>(most)));
  };
  const std::int64_t left = first(box.x, width), right = first(box.x + box.width, width);
  const std::int64_t top = first(box.y, height), bottom = first(box.y + box.height, height);
  Runs runs;
  for (std::int64_t x = 0; x < width; ++x) {
    const bool within = x >= left && x < right && bottom > top;
    const std::int64_t inside = within ? bottom - top : 0, above = within ? top : height;
    runs.add(static_cast<std::uint32_t>(above), false);
    if (!within) continue;
    runs.add(static_cast<std::uint32_t>(inside), true);
    runs.add(static_cast<std::uint32_t>(height - bottom), false);
  }
  return {width, height, runs.finish()};
}

Box box_around(const Mask& mask) {
  std::int64_t left = mask.width, right = -1, top = mask.height, bottom = -1, place = 0;
  for (std::size_t i = 0; i < mask.runs.size(); ++i) {
    const std::int64_t begin = place, last = begin + mask.runs[i] - 1;
    place = last + 1;
    if (i % 2 == 0 || mask.runs[i] == 0) continue;
    left = std::min(left, begin / mask.height);
    right = std::max(right, last / mask.height);
    const bool one_column = begin / mask.height == last / mask.height;
    top = std::min(top, one_column ? begin % mask.height : 0);
    bottom = std::max(bottom, one_column ? last % mask.height : mask.height - 1);
  }
  if (right < 0) return {};
  return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(right - left + 1),
          static_cast<double>(bottom - top + 1)};
}

Mask united(const Mask& a, const Mask& b) {
  expect_one_size(a, b);
  Runs runs;
  walk(a, b, [&](std::uint32_t length, bool in_a, bool in_b) { runs.add(length, in_a || in_b); });
  return {a.width, a.height, runs.finish()};
}

double mask_overlap(const Mask& detection, const Mask& object, bool crowd) {
  expect_one_size(detection, object);
  std::int64_t common = 0, either = 0;
  walk(detection, object, [&](std::uint32_t length, bool in_detection, bool in_object) {
    if (in_detection && in_object) common += length;
    if (in_detection || in_object) either += length;
  });
  if (common == 0) return 0;
  return static_cast<double>(common) / static_cast<double>(crowd ? detection.area() : either);
}

}  // namespace attune

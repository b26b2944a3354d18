#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/mask.h"

namespace attune {
namespace {

constexpr int kSteps = 5;               // a pixel, along a polygon's edges
constexpr double kFar = 1e5;            // pixels
constexpr std::int64_t kLongest = 5e6;  // steps around a polygon

/// Follows a polygon's outline and notes where it crosses the middle of a column of pixels: places in a picture, down
/// the columns, at which inside and outside change.
class Outline {
 public:
  Outline(std::int64_t width, std::int64_t height) : width_(width), height_(height) {}

  void edge(std::int64_t x, std::int64_t y, std::int64_t to_x, std::int64_t to_y) {
    const std::int64_t across = std::abs(to_x - x), down = std::abs(to_y - y);
    const bool steep = across < down;
    const std::int64_t steps = steep ? down : across;
    const bool turned = steep ? y > to_y : x > to_x;
    if (turned) {
      std::swap(x, to_x);
      std::swap(y, to_y);
    }
    const double rise =
        steps == 0 ? 0.0 : static_cast<double>(steep ? to_x - x : to_y - y) / static_cast<double>(steps);
    for (std::int64_t i = 0; i <= steps; ++i) {
      const std::int64_t t = turned ? steps - i : i;
      const auto beside = static_cast<std::int64_t>(
          std::trunc(static_cast<double>(steep ? x : y) + rise * static_cast<double>(t) + 0.5));
      if (steep) {
        point(beside, y + t);
      } else {
        point(x + t, beside);
      }
    }
  }

  std::vector<std::uint32_t> runs() {
    const std::int64_t pixels = width_ * height_;
    places_.push_back(pixels);
    std::sort(places_.begin(), places_.end());
    // Two changes at one place are none.
    std::vector<std::uint32_t> runs;
    std::int64_t former = 0;
    bool joined = false;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const auto length = static_cast<std::uint32_t>(places_[i] - former);
      former = places_[i];
      if (joined) {
        runs.back() += length;
        joined = false;
      } else if (length > 0 || runs.empty()) {
        runs.push_back(length);
      } else {
        joined = true;
      }
    }
    return runs;
  }

 private:
  void point(std::int64_t x, std::int64_t y) {
    if (begun_ && x != x_) crossing(x < x_ ? x : x - 1, std::min(y, y_));
    begun_ = true;
    x_ = x;
    y_ = y;
  }
  void crossing(std::int64_t x, std::int64_t y) {
    const double column = (static_cast<double>(x) + 0.5) / kSteps - 0.5;
    if (std::floor(column) != column || column < 0 || column > static_cast<double>(width_ - 1)) return;
    const double row = std::clamp((static_cast<double>(y) + 0.5) / kSteps - 0.5, 0.0, static_cast<double>(height_));
    places_.push_back(static_cast<std::int64_t>(column) * height_ + static_cast<std::int64_t>(std::ceil(row)));
  }

  std::int64_t width_, height_, x_ = 0, y_ = 0;
  bool begun_ = false;
  std::vector<std::int64_t> places_;
};

/// Throws Error unless runs make up a picture.
Mask checked_runs(std::int64_t width, std::int64_t height, const std::vector<std::int64_t>& runs,
                  const std::string& where) {
  check_mask_size(width, height, where);
  const std::int64_t pixels = width * height;
  Mask mask{width, height, {}};
  std::int64_t sum = 0;
  for (const std::int64_t run : runs) {
    if (run < 0 || run > pixels - sum) {
      throw Error(
          fmt::format("{}: expected runs that make up {} pixels, found one of {} after {}", where, pixels, run, sum));
    }
    sum += run;
    mask.runs.push_back(static_cast<std::uint32_t>(run));
  }
  if (sum != pixels) {
    throw Error(fmt::format("{}: expected runs that make up {} pixels, found {}", where, pixels, sum));
  }
  return mask;
}

std::vector<std::int64_t> read_compressed(std::string_view text, const std::string& where) {
  std::vector<std::int64_t> runs;
  std::int64_t value = 0;
  int shift = 0;
  for (const char letter : text) {
    const int bits = letter - '0';
    if (bits < 0 || bits > 63 || shift > 30) {
      throw Error(fmt::format("{}: expected compressed runs, found character {} where run {} is", where,
                              static_cast<int>(static_cast<unsigned char>(letter)), runs.size()));
    }
    value |= static_cast<std::int64_t>(bits & 31) << shift;
    shift += 5;
    if ((bits & 32) != 0) continue;
    if ((bits & 16) != 0) value -= std::int64_t{1} << shift;
    // Runs that are too large are refused later; here they must only not overflow.
    if (runs.size() > 2) value += runs[runs.size() - 2];
    if (std::abs(value) > 4 * kMostMaskPixels) {
      throw Error(fmt::format("{}: expected runs of at most {} pixels, found {}", where, kMostMaskPixels, value));
    }
    runs.push_back(value);
    value = 0;
    shift = 0;
  }
  if (shift != 0)
    throw Error(fmt::format("{}: expected compressed runs, found an end within run {}", where, runs.size()));
  return runs;
}

Mask parse_runs(const Json& json, std::int64_t width, std::int64_t height, const std::string& where) {
  const auto size = json_at<std::vector<std::int64_t>>(json, "size", where);
  if (size.size() != 2 || size[0] != height || size[1] != width) {
    throw Error(fmt::format("{}: expected the picture's \"size\" [{}, {}], found {}", where, height, width,
                            json["size"].dump().substr(0, 80)));
  }
  const auto counts = json.find("counts");
  if (counts != json.end() && counts->is_array()) {
    return checked_runs(width, height, json_at<std::vector<std::int64_t>>(json, "counts", where), where);
  }
  return parse_compressed(width, height, json_at<std::string>(json, "counts", where), where);
}

}  // namespace

Mask mask_of_polygon(std::int64_t width, std::int64_t height, const std::vector<double>& points,
                     const std::string& where) {
  check_mask_size(width, height, where);
  const bool fits = points.size() >= 6 && points.size() % 2 == 0 &&
                    std::all_of(points.begin(), points.end(), [](double one) { return std::abs(one) <= kFar; });
  if (!fits) {
    throw Error(
        fmt::format("{}: expected a polygon of x and y of three points or more, each at most {} pixels away, "
                    "found {} numbers or ones outside",
                    where, kFar, points.size()));
  }
  std::vector<std::int64_t> steps;
  steps.reserve(points.size());
  for (const double one : points) steps.push_back(static_cast<std::int64_t>(std::trunc(kSteps * one + 0.5)));
  std::int64_t length = 0;
  Outline outline(width, height);
  for (std::size_t i = 0; i < steps.size(); i += 2) {
    const std::size_t next = i + 2 < steps.size() ? i + 2 : 0;
    length += std::max(std::abs(steps[next] - steps[i]), std::abs(steps[next + 1] - steps[i + 1])) + 1;
    if (length > kLongest) throw Error(fmt::format("{}: expected a shorter polygon", where));
    outline.edge(steps[i], steps[i + 1], steps[next], steps[next + 1]);
  }
  return {width, height, outline.runs()};
}

std::string compressed(const Mask& mask) {
  std::string text;
  for (std::size_t i = 0; i < mask.runs.size(); ++i) {
    std::int64_t value = mask.runs[i];
    if (i > 2) value -= mask.runs[i - 2];
    bool more = true;
    while (more) {
      const std::int64_t bits = value & 31;
      value >>= 5;
      more = (bits & 16) != 0 ? value != -1 : value != 0;
      text += static_cast<char>('0' + bits + (more ? 32 : 0));
    }
  }
  return text;
}

Mask parse_compressed(std::int64_t width, std::int64_t height, std::string_view text, const std::string& where) {
  return checked_runs(width, height, read_compressed(text, where), where);
}

Json json_of(const Mask& mask) {
  return {{"size", {mask.height, mask.width}}, {"counts", compressed(mask)}};
}

Mask parse_segmentation(const Json& json, std::int64_t width, std::int64_t height, const std::string& where) {
  if (json.is_object()) return parse_runs(json, width, height, where);
  if (!json.is_array()) {
    throw Error(
        fmt::format("{}: expected a \"segmentation\" of polygons or runs, found {}", where, json.dump().substr(0, 80)));
  }
  Mask whole;
  for (const Json& polygon : json) {
    if (!polygon.is_array() ||
        !std::all_of(polygon.begin(), polygon.end(), [](const Json& one) { return one.is_number(); })) {
      throw Error(fmt::format("{}: expected polygons of numbers in \"segmentation\", found {}", where,
                              polygon.dump().substr(0, 80)));
    }
    const Mask part = mask_of_polygon(width, height, polygon.get<std::vector<double>>(), where);
    whole = whole.known() ? united(whole, part) : part;
  }
  return whole;
}

}  // namespace attune

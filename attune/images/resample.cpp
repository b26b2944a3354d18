#include "attune/images/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr int kPrecision = 32 - 8 - 2;
constexpr std::int64_t kMostPixels = 178'956'970;

double bilinear(double x) {
  x = std::abs(x);
  return x < 1 ? 1 - x : 0;
}

// Keys' cubic convolution with a = -0.5, in the order of operations of Pillow, which decides the last bit.
double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0;
}

/// Filters of the output positions `begin` .. `begin + count - 1` of `out_size`. When an axis shrinks the filter is
/// stretched over as many source positions (antialiasing).
Taps make_taps(int in_size, int out_size, int begin, int count, Filter filter) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == Filter::kBilinear ? 1.0 : 2.0) * stretch;
  const double inverse = 1.0 / stretch;
  Taps taps;
  taps.stride = (static_cast<int>(std::ceil(support)) * 2 + 1 + 3) / 4 * 4;
  const auto total = static_cast<std::size_t>(count) * static_cast<std::size_t>(taps.stride);
  taps.weights.resize(total);
  taps.low.resize(total);
  taps.high.resize(total);
  std::vector<double> exact(static_cast<std::size_t>(taps.stride));
  for (int i = 0; i < count; ++i) {
    const double centre = (begin + i + 0.5) * scale;
    // NOLINTBEGIN(bugprone-incorrect-roundings): Pillow's own rounding
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int used = std::min(static_cast<int>(centre + support + 0.5), in_size) - first;
    // NOLINTEND(bugprone-incorrect-roundings)
    double sum = 0;
    for (int j = 0; j < used; ++j) {
      const double at = (j + first - centre + 0.5) * inverse;
      exact[static_cast<std::size_t>(j)] = filter == Filter::kBilinear ? bilinear(at) : bicubic(at);
      sum += exact[static_cast<std::size_t>(j)];
    }
    for (int j = 0; j < used; ++j) {
      double weight = exact[static_cast<std::size_t>(j)];
      if (sum != 0) weight /= sum;
      const auto at = static_cast<std::size_t>(i) * static_cast<std::size_t>(taps.stride) + static_cast<std::size_t>(j);
      const int fixed = static_cast<int>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kPrecision));
      taps.weights[at] = fixed;
      taps.low[at] = static_cast<std::int16_t>(fixed & 0x7FFF);
      taps.high[at] = static_cast<std::int16_t>(fixed >> 15);
    }
    taps.first.push_back(first);
    taps.count.push_back(used);
  }
  return taps;
}

std::uint8_t rounded(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
}

void horizontal(const std::uint8_t* in, std::ptrdiff_t in_stride, const std::uint8_t*, int rows, const Taps& taps,
                std::uint8_t* out, std::ptrdiff_t out_stride) {
  const std::size_t width = taps.first.size();
  for (int y = 0; y < rows; ++y, in += in_stride, out += out_stride) {
    for (std::size_t x = 0; x < width; ++x) {
      const std::uint8_t* pixel = in + static_cast<std::ptrdiff_t>(taps.first[x]) * 3;
      const std::int32_t* weight = taps.weights.data() + x * static_cast<std::size_t>(taps.stride);
      std::int32_t red = 1 << (kPrecision - 1), green = red, blue = red;
      for (int j = 0; j < taps.count[x]; ++j, pixel += 3) {
        red += pixel[0] * weight[j];
        green += pixel[1] * weight[j];
        blue += pixel[2] * weight[j];
      }
      out[3 * x] = rounded(red);
      out[3 * x + 1] = rounded(green);
      out[3 * x + 2] = rounded(blue);
    }
  }
}

void vertical(const std::uint8_t* in, std::ptrdiff_t in_stride, const Taps& taps, int position, int bytes,
              std::uint8_t* out) {
  const auto at = static_cast<std::size_t>(position);
  const std::uint8_t* top = in + taps.first[at] * in_stride;
  const std::int32_t* weight = taps.weights.data() + at * static_cast<std::size_t>(taps.stride);
  for (int i = 0; i < bytes; ++i) {
    std::int32_t sum = 1 << (kPrecision - 1);
    for (int j = 0; j < taps.count[at]; ++j) sum += top[j * in_stride + i] * weight[j];
    out[i] = rounded(sum);
  }
}

void check(const Image& image, const PixelBox& source, int width, int height, const PixelBox& window) {
  const auto inside = [](const PixelBox& box, int right, int bottom) {
    return box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 && box.width <= right - box.left &&
           box.height <= bottom - box.top;
  };
  if (!inside(source, image.width, image.height) ||
      image.rgb.size() != static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3) {
    throw Error(fmt::format("resize: expected a rectangle within the picture of {} x {}, found {} x {} at ({}, {})",
                            image.width, image.height, source.width, source.height, source.left, source.top));
  }
  if (!inside(window, width, height) || std::int64_t{window.width} * window.height > kMostPixels) {
    throw Error(fmt::format("resize: expected a result of 1 to {} pixels, found {} x {} of {} x {}", kMostPixels,
                            window.width, window.height, width, height));
  }
}

/// What of one axis of the source an output window needs.
struct Axis {
  bool changes = false;
  int begin = 0;   // first source position
  int length = 0;  // source positions
  Taps taps;       // counted from `begin`; empty where nothing changes
};

Axis make_axis(int in_size, int out_size, int begin, int count, Filter filter) {
  if (in_size == out_size) return {false, begin, count, {}};
  Axis axis{true, 0, 0, make_taps(in_size, out_size, begin, count, filter)};
  axis.begin = axis.taps.first.front();
  axis.length = axis.taps.first.back() + axis.taps.count.back() - axis.begin;
  for (int& first : axis.taps.first) first -= axis.begin;
  return axis;
}

/// Rows of pixels within a larger picture.
struct View {
  const std::uint8_t* data;
  std::ptrdiff_t stride;
  const std::uint8_t* end;  // of the memory
  int width;
  int height;
};

View view_of(const Image& image) {
  return {image.rgb.data(), std::ptrdiff_t{image.width} * 3, image.rgb.data() + image.rgb.size(), image.width,
          image.height};
}

Image blank(int width, int height) {
  Image out{width, height, {}};
  out.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return out;
}

Image squeeze_across(const View& in, const Taps& taps, const ResampleKernels& kernels) {
  Image out = blank(static_cast<int>(taps.first.size()), in.height);
  kernels.horizontal(in.data, in.stride, in.end, in.height, taps, out.rgb.data(), std::ptrdiff_t{out.width} * 3);
  return out;
}

Image squeeze_down(const View& in, const Taps& taps, const ResampleKernels& kernels) {
  Image out = blank(in.width, static_cast<int>(taps.first.size()));
  const int row = in.width * 3;
  for (int y = 0; y < out.height; ++y) {
    kernels.vertical(in.data, in.stride, taps, y, row, out.rgb.data() + std::ptrdiff_t{y} * row);
  }
  return out;
}

Image copy(const View& in) {
  Image out = blank(in.width, in.height);
  const std::ptrdiff_t row = std::ptrdiff_t{in.width} * 3;
  for (int y = 0; y < in.height; ++y) {
    std::memcpy(out.rgb.data() + y * row, in.data + y * in.stride, static_cast<std::size_t>(row));
  }
  return out;
}

}  // namespace

ResampleKernels portable_kernels() {
  return {horizontal, vertical};
}

Image resample(const Image& image, const PixelBox& source, int width, int height, const PixelBox& window, Filter filter,
               const ResampleKernels& kernels) {
  check(image, source, width, height, window);
  const Axis across = make_axis(source.width, width, window.left, window.width, filter);
  const Axis down = make_axis(source.height, height, window.top, window.height, filter);
  const std::ptrdiff_t stride = std::ptrdiff_t{image.width} * 3;
  const View in{image.rgb.data() + (source.top + down.begin) * stride + std::ptrdiff_t{source.left + across.begin} * 3,
                stride, image.rgb.data() + image.rgb.size(), across.length, down.length};
  if (!across.changes && !down.changes) return copy(in);
  if (!down.changes) return squeeze_across(in, across.taps, kernels);
  if (!across.changes) return squeeze_down(in, down.taps, kernels);
  // Pillow 13 takes the rows first where that axis shrinks by more than twice as many pixels (observed on all sizes
  // that were tried, on either side of the border); the roundings in between make the order visible.
  const bool rows_first = source.height - height > 2 * std::max(source.width - width, 0);
  if (rows_first) return squeeze_across(view_of(squeeze_down(in, down.taps, kernels)), across.taps, kernels);
  return squeeze_down(view_of(squeeze_across(in, across.taps, kernels)), down.taps, kernels);
}

}  // namespace attune

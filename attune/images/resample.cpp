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
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
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
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int used = std::min(static_cast<int>(centre + support + 0.5), in_size) - first;
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

void check(const Image& image, const Box& source, int width, int height, const Box& window) {
  const auto inside = [](const Box& box, int right, int bottom) {
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

Image copy(const std::uint8_t* from, std::size_t stride, int width, int height) {
  Image out{width, height, {}};
  const std::size_t row = static_cast<std::size_t>(width) * 3;
  out.rgb.resize(row * static_cast<std::size_t>(height));
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    std::memcpy(out.rgb.data() + y * row, from + y * stride, row);
  }
  return out;
}

}  // namespace

ResampleKernels portable_kernels() {
  return {horizontal, vertical};
}

Image resample(const Image& image, const Box& source, int width, int height, const Box& window, Filter filter,
               const ResampleKernels& kernels) {
  check(image, source, width, height, window);
  const std::ptrdiff_t stride = std::ptrdiff_t{image.width} * 3;
  const std::uint8_t* end = image.rgb.data() + image.rgb.size();
  const std::uint8_t* in = image.rgb.data() + source.top * stride + std::ptrdiff_t{source.left} * 3;
  const bool across = width != source.width, down = height != source.height;
  if (!across) in += std::ptrdiff_t{window.left} * 3;

  Taps rows;
  int first_row = window.top, row_count = window.height;
  if (down) {
    rows = make_taps(source.height, height, window.top, window.height, filter);
    first_row = rows.first.front();
    row_count = rows.first.back() + rows.count.back() - first_row;
    for (int& first : rows.first) first -= first_row;
  }
  in += first_row * stride;
  if (!across && !down) return copy(in, static_cast<std::size_t>(stride), window.width, window.height);

  const std::ptrdiff_t out_stride = std::ptrdiff_t{window.width} * 3;
  Image wide;
  std::ptrdiff_t wide_stride = stride;
  if (across) {
    const Taps columns = make_taps(source.width, width, window.left, window.width, filter);
    wide = {window.width, row_count, {}};
    wide.rgb.resize(static_cast<std::size_t>(out_stride) * static_cast<std::size_t>(row_count));
    kernels.horizontal(in, stride, end, row_count, columns, wide.rgb.data(), out_stride);
    if (!down) return wide;
    in = wide.rgb.data();
    wide_stride = out_stride;
  }
  Image out{window.width, window.height, {}};
  out.rgb.resize(static_cast<std::size_t>(out_stride) * static_cast<std::size_t>(window.height));
  for (int y = 0; y < window.height; ++y) {
    kernels.vertical(in, wide_stride, rows, y, static_cast<int>(out_stride), out.rgb.data() + y * out_stride);
  }
  return out;
}

}  // namespace attune

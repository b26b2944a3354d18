#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attune/images/image.h"
#include "attune/images/preprocess.h"

namespace attune {

/// A rectangle of pixels.
struct PixelBox {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};

/// The filter of every output position along one axis, in Pillow's fixed point (22 bits after the point).
struct Taps {
  std::vector<int> first;             // [n] first source position
  std::vector<int> count;             // [n] source positions read
  int stride = 0;                     // weights a position, a multiple of 4, zeros after `count`
  std::vector<std::int32_t> weights;  // [n * stride]
  std::vector<std::int16_t> low;      // [n * stride] the lower 15 bits of each weight
  std::vector<std::int16_t> high;     // [n * stride] the rest: weight = high * 2^15 + low
};

/// The inner loops on packed RGB rows. Every variant gives the same bits: sums are taken modulo 2^32 and fit it.
struct ResampleKernels {
  /// out[y][x] for `rows` rows; `end` is the end of the readable memory behind `in`.
  void (*horizontal)(const std::uint8_t* in, std::ptrdiff_t in_stride, const std::uint8_t* end, int rows,
                     const Taps& taps, std::uint8_t* out, std::ptrdiff_t out_stride);
  /// One output row of `bytes` bytes, the one that `taps` describes at `position`; `in` is source row 0.
  void (*vertical)(const std::uint8_t* in, std::ptrdiff_t in_stride, const Taps& taps, int position, int bytes,
                   std::uint8_t* out);
};
ResampleKernels portable_kernels();
/// For processors with AVX2, else the portable ones.
ResampleKernels fastest_kernels();

/// The part `window` of Pillow's `image.crop(source).resize((width, height), filter)`, bit for bit; only what the
/// window needs is computed. Throws Error for an empty or outlying rectangle.
Image resample(const Image& image, const PixelBox& source, int width, int height, const PixelBox& window, Filter filter,
               const ResampleKernels& kernels = fastest_kernels());

}  // namespace attune

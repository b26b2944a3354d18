#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "attune/base/random.h"
#include "attune/images/image.h"

namespace attune {

enum class Filter { kBilinear, kBicubic };
/// Where the centre crop begins when the margin is odd: torchvision rounds half to even, Hugging Face rounds down.
enum class CropConvention { kTorchvision, kHuggingFace };

/// How a picture becomes the input of an image tower, as preprocessor_config.json says it.
struct Preprocess {
  int size = 224;  // side of the square input
  Filter filter = Filter::kBicubic;
  CropConvention crop = CropConvention::kTorchvision;
  std::array<float, 3> mean = {0.48145466F, 0.4578275F, 0.40821073F};
  std::array<float, 3> deviation = {0.26862954F, 0.26130258F, 0.27577711F};

  friend bool operator==(const Preprocess&, const Preprocess&) = default;
};

/// The random view of few-shot training: random resized crop, then a flip.
struct Augmentation {
  double smallest = 0.08;  // share of the area
  double largest = 1.0;
  double flip = 0.5;
};

/// Bit-exact with Pillow's Image.resize for 8-bit RGB.
Image resize(const Image& image, int width, int height, Filter filter);
/// Resizes the shorter side to `size`, the other as torchvision rounds it (int(size * long / short)).
Image resize_short_side(const Image& image, int size, Filter filter);
Image centre_crop(const Image& image, int size, CropConvention convention);
/// The pixels of a rectangle. Throws Error for an empty or outlying one.
Image crop(const Image& image, int left, int top, int width, int height);
/// The deterministic view of evaluation: resize the shorter side, centre crop.
Image centre_view(const Image& image, const Preprocess& preprocess);
/// A random view; every number is drawn from `random`, so the same key gives the same view. torchvision's rule: ten
/// tries of area and aspect ratio in 3/4..4/3 (log-uniform), else a centre crop of the nearest ratio.
Image random_view(const Image& image, const Preprocess& preprocess, const Augmentation& augmentation,
                  KeyedRandom& random);
/// (pixel / 255 - mean) / deviation as [3, height, width] floats, channel by channel, written to `out`.
void normalise(const Image& image, const Preprocess& preprocess, float* out);

}  // namespace attune

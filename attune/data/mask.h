#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/json.h"
#include "attune/images/image.h"

namespace attune {

struct Box;

inline constexpr std::int64_t kMostMaskPixels = std::int64_t{1} << 30;

/// Some pixels of a picture, as COCO has them: lengths of runs outside and inside in turn, the first one outside (it
/// may be 0), down the columns from the left. One without runs stands for "no mask is known".
struct Mask {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint32_t> runs;  // their sum is width * height

  bool known() const { return !runs.empty(); }
  /// Pixels inside.
  std::int64_t area() const;
  friend bool operator==(const Mask&, const Mask&) = default;
};

/// Throws Error that names `where` unless a mask may have that size.
void check_mask_size(std::int64_t width, std::int64_t height, const std::string& where);
/// The pixels of a picture [height * width], row by row, that are not 0. Throws Error where their number does not fit.
Mask mask_of_pixels(std::int64_t width, std::int64_t height, const std::vector<std::uint8_t>& pixels);
/// 1 inside, 0 outside, row by row.
std::vector<std::uint8_t> pixels_of(const Mask& mask);
/// White inside on black.
Image picture_of(const Mask& mask);

/// A polygon of points x, y, x, y, ... in pixels, rasterised as pycocotools does it (five steps a pixel). Throws Error
/// that names `where` for less than three points, or ones that are not finite or far outside.
Mask mask_of_polygon(std::int64_t width, std::int64_t height, const std::vector<double>& points,
                     const std::string& where);
/// Every pixel whose middle lies within the box.
Mask mask_of_box(std::int64_t width, std::int64_t height, const Box& box);

/// The smallest box around the pixels; an empty one at 0 where there are none.
Box box_around(const Mask& mask);
/// What any of two masks of one picture holds.
Mask united(const Mask& a, const Mask& b);
/// Common pixels as a share of the united ones, or of the detection's where the object is a crowd. Throws Error where
/// they are of pictures of different sizes.
double mask_overlap(const Mask& detection, const Mask& object, bool crowd);

/// The runs as COCO compresses them: differences to the run before the last, in groups of five bits.
std::string compressed(const Mask& mask);
/// Reads them back. Throws Error that names `where`: other characters, a number that ends too early or is too large,
/// runs that do not make up the picture.
Mask parse_compressed(std::int64_t width, std::int64_t height, std::string_view text, const std::string& where);

/// {"size": [height, width], "counts": "..."}
Json json_of(const Mask& mask);
/// A "segmentation" of COCO's: polygons, or runs as a list or compressed, of a picture of that size. An empty list
/// means none. Throws Error that names `where`.
Mask parse_segmentation(const Json& json, std::int64_t width, std::int64_t height, const std::string& where);

}  // namespace attune

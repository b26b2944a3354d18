#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/files.h"
#include "attune/data/coco.h"
#include "attune/images/encode.h"
#include "attune/tasks/segmentation.h"

namespace attune {

inline Image image_of(const Tensor& levels) {  // [3, height, width]
  const Tensor last = levels.permute({1, 2, 0}).contiguous();
  Image image{static_cast<int>(levels.size(2)), static_cast<int>(levels.size(1)), {}};
  image.rgb.assign(last.const_data_ptr<std::uint8_t>(), last.const_data_ptr<std::uint8_t>() + last.numel());
  return image;
}

inline Mask mask_of(const Tensor& pixels) {  // [height, width]
  const Tensor own = pixels.contiguous();
  const auto* data = own.const_data_ptr<std::uint8_t>();
  return mask_of_pixels(own.size(1), own.size(0), {data, data + own.numel()});
}

/// The pictures of the search that data/make_clipseg.py records, each with an object of category i % 2.
inline std::vector<BoxPicture> recorded_pictures(const std::filesystem::path& folder, const TensorMap& recorded) {
  Tensor levels = recorded.at("levels");
  levels = at::cat({levels, levels.narrow(0, 0, 1).flip(3)});
  std::vector<BoxPicture> pictures;
  for (std::int64_t i = 0; i < 4; ++i) {
    const std::string name = std::to_string(i) + ".png";
    write_file(folder / name, encode_png(image_of(levels[i])));
    const Mask mask = mask_of(recorded.at("search.targets")[i]);
    pictures.push_back({i + 1, name, 32, 32, {{box_around(mask), i % 2, 1, false, false, mask}}});
  }
  return pictures;
}

/// Whole pictures are learned from.
inline SegmentSettings whole() {
  SegmentSettings settings;
  settings.whole_pictures = true;
  return settings;
}

}  // namespace attune

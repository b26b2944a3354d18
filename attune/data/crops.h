#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/log.h"
#include "attune/data/boxes.h"

namespace attune {

/// How objects are cut out of pictures.
struct CropOptions {
  double margin = 0.1;  // added on each side, as a share of the box's width or height
  int least = 16;       // pixels; a box with a shorter side than this is left out
};

/// How many crops a class has in a part, which is empty where the set has no parts.
struct CropCount {
  std::string part, class_name;
  std::int64_t crops = 0;

  friend bool operator==(const CropCount&, const CropCount&) = default;
};

/// What became of the boxes of a set.
struct CropReport {
  std::vector<CropCount> counts;  // train, val, test or undivided, each in the order of the categories
  std::int64_t small = 0;         // boxes left out because of CropOptions::least
  std::int64_t crowds = 0;        // ... because they stand for several objects
  std::int64_t ignored = 0;       // ... because they are marked as too hard
};

/// Writes one PNG a box to `out`/PART/CLASS/PICTURE-BOX.png (without PART where the set has no parts), and the listing
/// `out`/crops.csv, by which open_dataset reads the folder: filepath, label, classname, split, and where the crop comes
/// from: picture, box (its place among the picture's boxes, from 0), left, top, width, height in pixels of the picture.
/// A crop is the box with its margin, widened to whole pixels and cut off at the picture's edge. `out` appears as a
/// whole or not at all. Throws UsageError on options out of range and where `out` exists; Error that names the picture
/// and the box: a picture whose size is not the one annotated, a box outside it, two crops of one name.
CropReport cut_crops(const BoxDataset& dataset, const std::filesystem::path& out, const CropOptions& options = {},
                     Progress* progress = nullptr);

}  // namespace attune

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "attune/base/json.h"
#include "attune/data/coco.h"

namespace attune {

/// The twelve numbers of COCO's detection benchmark, each from 0 to 1, or -1 where nothing was asked for. Average
/// precision (ap) is over IoU thresholds from 0.5 to 0.95 unless one is named; average recall (ar) over the same.
struct DetectionMetrics {
  double ap = -1, ap50 = -1, ap75 = -1, ap_small = -1, ap_medium = -1, ap_large = -1;
  double ar1 = -1, ar10 = -1, ar100 = -1, ar_small = -1, ar_medium = -1, ar_large = -1;
  std::vector<double> category_ap, category_ap50;  // by category; -1 where no picture shows one

  Json to_json(const std::vector<BoxCategory>& categories) const;
};

/// What of an object and a detection is compared: boxes, or pixels (COCO's "bbox" and "segm"). By pixels a detection is
/// small or large as its mask is; pycocotools does the same for results without "bbox".
enum class Compared { kBoxes, kMasks };

/// Measures detections with COCO's rules, as pycocotools computes them: detections of a picture and a category, the
/// best scores first and at most 100, are matched greedily to the free object of the largest overlap; crowds and
/// ignored objects are neither asked for nor counted against a detection that meets them; precision is the best at a
/// recall or beyond, read at 101 recalls. Of detections with equal scores those of the smaller picture id come first,
/// of one picture the earlier. Throws Error where a detection names a picture or category that is not there, and where
/// masks are compared and an object or a detection has none.
DetectionMetrics measure_detections(const std::vector<BoxPicture>& pictures, std::size_t categories,
                                    const std::vector<Detection>& detections, Compared compared = Compared::kBoxes);

}  // namespace attune

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/evaluation/detection.h"
#include "attune/images/image.h"

namespace attune {

/// A box to be drawn.
struct DrawnBox {
  Box box;
  std::string text;    // beside it; empty: none
  std::string colour;  // as CSS writes it, such as "#d7301f"
  bool dashed = false;
};

/// The colour of a category, the same on every picture.
std::string category_colour(std::int64_t category);

/// The picture with boxes over it.
Image with_boxes(const Image& picture, const std::vector<DrawnBox>& boxes);
/// The same with detections of at least a score, named, and with their masks where they have some.
Image with_detections(const Image& picture, const std::vector<Detection>& detections,
                      const std::vector<std::string>& names, double threshold);

/// One measurement for the page.
struct MeasuredDetections {
  std::string name;  // such as "by name" or "searched"
  DetectionMetrics metrics;
};

/// A page of a run on a detector: tables of the measurements beside each other, by category, and pictures (PNG files,
/// which become part of the page).
std::string detection_page(const Json& results, const std::vector<BoxCategory>& categories,
                           const std::vector<MeasuredDetections>& measured,
                           const std::vector<std::filesystem::path>& pictures);

}  // namespace attune

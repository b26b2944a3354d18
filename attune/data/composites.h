#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/log.h"
#include "attune/data/boxes.h"
#include "attune/data/drawings.h"
#include "attune/data/mask.h"
#include "attune/images/image.h"

namespace attune {

/// How scenes are put together.
struct CompositeSettings {
  int size = 192;                        // side of the square scene, pixels
  int least = 1, most = 5;               // drawings a scene
  double smallest = 0.2, largest = 0.5;  // longer side of a drawing as a share of the scene's, log-uniform
  double stretch = 0.1;                  // most change of one side against the other
  double overlap = 0.2;                  // most that two boxes have in common, as a share of the smaller one
  bool mirror = true;                    // half of the drawings
};

/// A drawing in a scene, with what is visible of it.
struct PlacedDrawing {
  std::int64_t category = 0;  // index into Drawings::categories
  std::int64_t drawing = 0;   // index into Drawings::drawings
  Box box;                    // of the mask
  Mask mask;                  // opacity of at least a half, and nothing drawn over it
};

struct Composite {
  Image image;
  std::vector<PlacedDrawing> objects;  // in the order in which they were drawn
};

/// A scene of drawings on a plain, shaded or noisy light ground, by (seed, index) alone: on every machine the same.
/// Throws UsageError for settings that make no scene.
Composite compose(const Drawings& drawings, const CompositeSettings& settings, std::uint64_t seed, std::uint64_t index);

/// Scenes of the parts of a data set.
struct CompositeCounts {
  std::int64_t train = 0, val = 0, test = 0;
};

/// The index of scene i of a part ("train", "val", "test"): no two parts share a scene.
std::uint64_t composite_index(const std::string& part, std::int64_t i);

/// A COCO folder of scenes: annotations/instances_PART.json, with boxes, areas, masks as compressed run lengths and
/// the set and icon of each object, and PART/000000.png, ...
void write_composites(const std::filesystem::path& out, const Drawings& drawings, const CompositeSettings& settings,
                      const CompositeCounts& counts, std::uint64_t seed, int threads = 2, Progress* progress = nullptr);

}  // namespace attune

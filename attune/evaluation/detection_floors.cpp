#include "attune/evaluation/detection_floors.h"

#include <algorithm>

namespace attune {

DetectionFloors detection_floors(const OwlVit& detector, const std::filesystem::path& root,
                                 const std::vector<BoxPicture>& pictures, std::int64_t commonest,
                                 std::int64_t categories, FindSettings settings, std::uint64_t seed) {
  settings.threshold = 0;
  DetectionFloors floors;
  const auto add = [&](std::vector<Detection>& all, const Tensor& boxes, const Answers& answers,
                       const BoxPicture& picture) {
    const std::vector<Detection> own = detections_of(boxes, answers, categories, picture, settings);
    all.insert(all.end(), own.begin(), own.end());
  };
  for (const BoxPicture& picture : pictures) {
    const Sight sight = look_at(detector, read_box_picture(root, picture));
    const Tensor boxes = sight.boxes[0];
    KeyedRandom random(seed, "detection floor", static_cast<std::uint64_t>(picture.id));
    const Tensor scores = uniform({boxes.size(0)}, 0, 1, random);
    const Tensor chosen = uniform({boxes.size(0)}, 0, static_cast<double>(categories), random).to(at::kLong);
    add(floors.at_random, boxes, {scores, chosen.clamp_max(categories - 1)}, picture);
    const Tensor likely = at::sigmoid((1 + sight.shift[0]) * sight.scale[0]);
    add(floors.commonest, boxes, {likely, at::full({boxes.size(0)}, commonest, at::kLong)}, picture);
  }
  return floors;
}

std::int64_t commonest_category(const std::vector<BoxPicture>& pictures, std::int64_t categories) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(categories));
  for (const BoxPicture& picture : pictures) {
    for (const BoxLabel& label : picture.labels) {
      if (!label.crowd && !label.ignored) ++counts[static_cast<std::size_t>(label.category)];
    }
  }
  return std::max_element(counts.begin(), counts.end()) - counts.begin();
}

}  // namespace attune

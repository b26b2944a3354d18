#include "attune/evaluation/detection_floors.h"

#include <set>

#include <gmock/gmock.h>

#include "tests/support/stored.h"

namespace attune {
namespace {

using testing_support::kDetector;
using testing_support::kTasks;

TEST(DetectionFloors, AreTheDetectorsBoxesUnderAnswersThatKnowNoCategory) {
  LoadOptions options;
  options.text = false;
  const OwlVit detector = OwlVit::load(kDetector, options);
  const BoxDataset data = open_boxes(kTasks + "/boxes/boxes.json");
  FindSettings every;
  every.overlap = 1;
  const auto floors = [&](std::uint64_t seed) {
    return detection_floors(detector, data.root, data.all, 1, 3, every, seed);
  };
  const DetectionFloors found = floors(1);
  ASSERT_EQ(found.at_random.size(), 3u * 16u);
  ASSERT_EQ(found.commonest.size(), 3u * 16u);
  std::set<std::int64_t> categories;
  for (const Detection& one : found.at_random) categories.insert(one.category);
  EXPECT_EQ(categories, (std::set<std::int64_t>{0, 1, 2}));
  for (const Detection& one : found.commonest) EXPECT_EQ(one.category, 1);
  EXPECT_EQ(floors(1).at_random, found.at_random);
  EXPECT_NE(floors(2).at_random, found.at_random);
  EXPECT_EQ(floors(2).commonest, found.commonest);
  // The same boxes, whoever answers.
  const auto boxes = [](const std::vector<Detection>& detections) {
    std::set<std::array<double, 4>> set;
    for (const Detection& one : detections) set.insert({one.box.x, one.box.y, one.box.width, one.box.height});
    return set;
  };
  EXPECT_EQ(boxes(found.at_random), boxes(found.commonest));
}

TEST(DetectionFloors, TheCommonestCategoryHasTheMostObjectsThatCount) {
  BoxPicture picture{1, "a.png", 10, 10, {}};
  picture.labels = {{{0, 0, 1, 1}, 2, 1}, {{0, 0, 1, 1}, 1, 1}, {{0, 0, 1, 1}, 1, 1, true}, {{0, 0, 1, 1}, 0, 1}};
  picture.labels[3].ignored = true;
  EXPECT_EQ(commonest_category({picture}, 3), 1);
  picture.labels.push_back({{0, 0, 1, 1}, 2, 1});
  EXPECT_EQ(commonest_category({picture}, 3), 2);
}

}  // namespace
}  // namespace attune

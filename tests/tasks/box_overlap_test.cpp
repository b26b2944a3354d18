#include "attune/tasks/box_overlap.h"

#include <gmock/gmock.h>

namespace attune {
namespace {

using testing::ElementsAre;

Tensor boxes_of(std::vector<float> numbers) {
  return at::tensor(numbers).view({-1, 4});
}

TEST(BoxOverlap, IsThatOfTheAreas) {
  const Tensor a = boxes_of({0, 0, 2, 2}), b = boxes_of({1, 1, 3, 3, 0, 0, 2, 2, 4, 0, 5, 2, 0, 0, 4, 4});
  const Overlaps found = overlaps_of(a, b);
  const auto expect = [](const Tensor& row, const std::vector<double>& numbers) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      EXPECT_NEAR(row[static_cast<std::int64_t>(i)].item<double>(), numbers[i], 1e-6) << i;
    }
  };
  expect(found.iou[0], {1.0 / 7, 1, 0, 0.25});
  expect(found.generalised[0], {1.0 / 7 - 2.0 / 9, 1, -4.0 / 10, 0.25});
  expect(found.share_of_a[0], {0.25, 1, 0, 1});
  EXPECT_EQ(overlaps_of(boxes_of({1, 1, 1, 1}), boxes_of({1, 1, 1, 1})).iou.item<float>(), 0);
}

TEST(BoxOverlap, CornersAreHalfTheSizeAway) {
  EXPECT_TRUE(corners_of(boxes_of({5, 4, 2, 6})).equal(boxes_of({4, 1, 6, 7})));
}

TEST(Suppression, KeepsTheBestOfEveryPlace) {
  const Tensor boxes = boxes_of({0, 0, 10, 10, 1, 0, 11, 10, 50, 50, 60, 60, 2, 0, 12, 10});
  // 0 and 1 overlap by 9 / 11, 1 and 3 too, 0 and 3 by 8 / 12.
  const Tensor scores = at::tensor({0.5, 0.9, 0.1, 0.5});
  EXPECT_THAT(suppress(boxes, scores, 0.7), ElementsAre(1, 2));
  EXPECT_THAT(suppress(boxes, scores, 0.9), ElementsAre(1, 0, 3, 2));
  // What was dropped drops nothing.
  EXPECT_THAT(suppress(boxes, at::tensor({0.9, 0.5, 0.1, 0.4}), 0.7), ElementsAre(0, 3, 2));
  EXPECT_TRUE(suppress(boxes_of({}), at::zeros({0}), 0.5).empty());
}

}  // namespace
}  // namespace attune

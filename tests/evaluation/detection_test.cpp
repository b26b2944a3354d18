#include "attune/evaluation/detection.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<double> numbers_of(const DetectionMetrics& m) {
  return {m.ap,  m.ap50, m.ap75,  m.ap_small, m.ap_medium, m.ap_large,
          m.ar1, m.ar10, m.ar100, m.ar_small, m.ar_medium, m.ar_large};
}

/// One picture of 400 x 300 with one object of every box.
BoxPicture picture_with(std::vector<Box> boxes) {
  BoxPicture picture{1, "a.png", 400, 300, {}};
  for (const Box& box : boxes) picture.labels.push_back({box, 0, box.area()});
  return picture;
}

/// Measures the cases of a file and compares with what is stored.
void expect_measured(const std::string& name, Compared compared) {
  const std::string file = std::string(ATTUNE_TEST_DATA) + "/" + name;
  for (const Json& one : read_json(file)) {
    const CocoFile truth = parse_coco(one["truth"], file, compared == Compared::kMasks);
    const auto detections = parse_coco_results(one["results"], truth.categories, file);
    const DetectionMetrics found = measure_detections(truth.pictures, truth.categories.size(), detections, compared);
    const auto expected = one["stats"].get<std::vector<double>>();
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(numbers_of(found)[i], expected[i], 1e-9) << i;
    const auto by_category = one["category_ap"].get<std::vector<double>>();
    for (std::size_t c = 0; c < by_category.size(); ++c) EXPECT_NEAR(found.category_ap[c], by_category[c], 1e-9) << c;
  }
}

TEST(Detections, AreMeasuredAsPycocotoolsDoesParity) {
  expect_measured("detection.json", Compared::kBoxes);
}

TEST(Detections, AreMeasuredByTheirMasksAsPycocotoolsDoesParity) {
  expect_measured("masks.json", Compared::kMasks);
}

TEST(Detections, ComparedByMasksNeedThem) {
  std::vector<BoxPicture> pictures = {picture_with({{10, 10, 100, 50}})};
  const Detection bare{1, 0, {10, 10, 100, 50}, 0.5};
  const auto measure = [&](const Detection& one) { return measure_detections(pictures, 1, {one}, Compared::kMasks); };
  EXPECT_THAT([&] { measure(bare); }, ThrowsMessage<Error>(HasSubstr("a.png: expected objects with masks")));
  pictures[0].labels[0].mask = mask_of_box(400, 300, bare.box);
  EXPECT_THAT([&] { measure(bare); }, ThrowsMessage<Error>(HasSubstr("detection 0: expected a mask")));
  Detection one = bare;
  one.mask = pictures[0].labels[0].mask;
  one.box = {};
  EXPECT_NEAR(measure(one).ap, 1, 1e-12);
}

TEST(Detections, ThatAreRightAreWorthOneAndNoneAreWorthZero) {
  const std::vector<BoxPicture> pictures = {picture_with({{10, 10, 100, 50}, {200, 20, 40, 40}})};
  const DetectionMetrics right =
      measure_detections(pictures, 2, {{1, 0, {200, 20, 40, 40}, 0.3}, {1, 0, {10, 10, 100, 50}, 0.9}});
  EXPECT_NEAR(right.ap, 1, 1e-12);
  EXPECT_NEAR(right.ar1, 0.5, 1e-12);
  EXPECT_NEAR(right.ar10, 1, 1e-12);
  EXPECT_EQ(right.ap_large, -1);
  EXPECT_EQ(right.category_ap, (std::vector<double>{right.ap, -1}));
  const DetectionMetrics none = measure_detections(pictures, 2, {});
  EXPECT_EQ(none.ap, 0);
  EXPECT_EQ(none.ar100, 0);
}

TEST(Detections, OfTheSameObjectCountOnce) {
  const std::vector<BoxPicture> pictures = {picture_with({{10, 10, 100, 50}})};
  const Detection one{1, 0, {10, 10, 100, 50}, 0.5};
  EXPECT_NEAR(measure_detections(pictures, 1, {{one, one}}).ap, 1, 1e-12);
  Detection wrong = one;
  wrong.box.x = 300;
  wrong.score = 0.9;
  EXPECT_NEAR(measure_detections(pictures, 1, {wrong, one}).ap, 0.5, 1e-12);
}

TEST(Detections, MayMeetWhatIsIgnored) {
  BoxPicture picture = picture_with({{10, 10, 100, 50}, {200, 20, 40, 40}});
  picture.labels[1].ignored = true;
  const std::vector<Detection> both = {{1, 0, {200, 20, 40, 40}, 0.9}, {1, 0, {10, 10, 100, 50}, 0.5}};
  EXPECT_NEAR(measure_detections({picture}, 1, both).ap, 1, 1e-12);
}

TEST(Detections, OfUnknownPicturesAreRefused) {
  EXPECT_THAT([] { measure_detections({}, 1, {{4, 0, {}, 1}}); }, ThrowsMessage<Error>(HasSubstr("detection 0")));
  EXPECT_THAT(
      [] {
        measure_detections({picture_with({})}, 1, {{1, 1, {}, 1}});
      },
      ThrowsMessage<Error>(HasSubstr("detection 0")));
}

}  // namespace
}  // namespace attune

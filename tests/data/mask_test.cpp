#include "attune/data/mask.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/data/coco.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const Json& expected() {
  static const Json kExpected = read_json(std::string(ATTUNE_TEST_DATA) + "/masks.json");
  return kExpected;
}
Mask mask_of(const Json& json) {
  return parse_segmentation(json, json["size"][1], json["size"][0], "mask");
}
Box box_of(const Json& json) {
  return {json[0], json[1], json[2], json[3]};
}

TEST(Mask, PolygonsAreRasterisedAsPycocotoolsDoesParity) {
  for (const Json& one : expected()["polygons"]) {
    const Json& rle = one["rle"];
    const Mask mask = parse_segmentation(one["segmentation"], rle["size"][1], rle["size"][0], "polygons");
    EXPECT_EQ(json_of(mask), rle) << one["segmentation"].dump();
    EXPECT_EQ(mask.area(), one["area"].get<std::int64_t>());
    // pycocotools' box of a mask that begins with an empty run goes over it too; ours is that of the pixels.
    if (mask.area() > 0) EXPECT_EQ(box_around(mask), box_of(one["box"])) << one["segmentation"].dump();
  }
}

TEST(Mask, PixelsAreEncodedAndDecodedAsPycocotoolsDoesParity) {
  for (const Json& one : expected()["pixels"]) {
    std::vector<std::uint8_t> pixels;
    for (const auto& row : one["rows"]) {
      for (const char letter : row.get<std::string>()) pixels.push_back(letter == '1' ? 1 : 0);
    }
    const Mask mask = mask_of_pixels(one["rle"]["size"][1], one["rle"]["size"][0], pixels);
    EXPECT_EQ(json_of(mask), one["rle"]);
    EXPECT_EQ(mask.area(), one["area"].get<std::int64_t>());
    EXPECT_EQ(pixels_of(mask), pixels);
    EXPECT_EQ(mask_of(one["rle"]), mask);
    // The same runs as a list.
    const Json listed = {{"size", one["rle"]["size"]}, {"counts", mask.runs}};
    EXPECT_EQ(mask_of(listed), mask);
  }
}

TEST(Mask, OverlapsAndUnionsAreThoseOfPycocotoolsParity) {
  for (const Json& one : expected()["overlaps"]) {
    const Mask a = mask_of(one["a"]), b = mask_of(one["b"]);
    EXPECT_EQ(mask_overlap(a, b, false), one["iou"].get<double>());
    EXPECT_EQ(mask_overlap(a, b, true), one["crowd"].get<double>());
    EXPECT_EQ(json_of(united(a, b)), one["union"]);
  }
}

TEST(Mask, OfABoxHoldsThePixelsWhoseMiddlesLieWithin) {
  const Mask mask = mask_of_box(4, 3, {0.6, 1, 2, 5});
  EXPECT_THAT(pixels_of(mask), ElementsAre(0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0));
  EXPECT_THAT(mask_of_box(4, 3, {-9, -9, 99, 99}).runs, ElementsAre(0, 12));
  EXPECT_EQ(mask_of_box(4, 3, {1, 1, 0.2, 0.2}), mask_of_pixels(4, 3, std::vector<std::uint8_t>(12)));
  EXPECT_EQ(box_around(mask), (Box{1, 1, 2, 2}));
  EXPECT_EQ(box_around(mask_of_box(4, 3, {1, 1, 0, 0})), Box{});
}

TEST(Mask, IsWhiteOnBlackAsAPicture) {
  const Image image = picture_of(mask_of_box(3, 2, {1, 0, 1, 1}));
  const std::string png = encode_png(image);
  EXPECT_EQ(decode_image(std::as_bytes(std::span(png)), "mask"), image);
  EXPECT_THAT(image.rgb, ElementsAre(0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
}

TEST(Mask, NamesWhatIsWrongWithASegmentation) {
  const auto refused = [](const std::string& text, const std::string& words) {
    EXPECT_THAT([&] { parse_segmentation(Json::parse(text), 6, 5, "a.json, annotation 3"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("a.json, annotation 3"), HasSubstr(words))))
        << text;
  };
  refused("7", "polygons or runs");
  refused("[[1, 2, 3, 4]]", "three points");
  refused("[[1, 2, 3, 4, 5, 6, 7]]", "7 numbers");
  refused("[[1, 2, 3, \"4\", 5, 6]]", "numbers");
  refused("[[1, 2, 3, 1e300, 5, 6]]", "three points");
  refused("[[1e5, 0, 0, 1e5, -1e5, 0, 1e5, 0, 0, 1e5, -1e5, 0, 1e5, 0, 0, 1e5, -1e5, 0, 1e5, 0, 0, 1e5, -1e5, 0]]",
          "shorter");
  refused(R"({"counts": [30]})", "size");
  refused(R"({"size": [6, 5], "counts": [30]})", "[5, 6]");
  refused(R"({"size": [5, 6], "counts": [29]})", "29");
  refused(R"({"size": [5, 6], "counts": [20, 11]})", "11 after 20");
  refused(R"({"size": [5, 6], "counts": [31, -1]})", "31");
  refused(R"({"size": [5, 6], "counts": 3})", "counts");
  refused(R"({"size": [5, 6], "counts": "n"})", "end within");
  refused(R"({"size": [5, 6], "counts": "N0"})", "after 0");
  refused(R"({"size": [5, 6], "counts": " "})", "character 32");
  refused(R"({"size": [5, 6], "counts": "oooooooooooooooooooo0"})", "character");
  refused(R"({"size": [5, 6], "counts": ""})", "found 0");
  EXPECT_FALSE(parse_segmentation(Json::array(), 6, 5, "none").known());
  EXPECT_THAT([] { mask_of_box(1 << 20, 1 << 20, {}); }, ThrowsMessage<Error>(HasSubstr("1073741824 pixels")));
  EXPECT_THAT([] { mask_overlap(mask_of_box(2, 3, {}), mask_of_box(3, 2, {}), false); },
              ThrowsMessage<Error>(HasSubstr("one size")));
}

TEST(Mask, OfAnAnnotationIsReadWhereItIsAskedFor) {
  const Json json = Json::parse(R"({"images": [{"id": 1, "file_name": "a.png", "width": 6, "height": 5}],
    "categories": [{"id": 1, "name": "leaf"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 3], "segmentation": [[1,1,3,1,3,4,1,4]]},
                    {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 3]}]})");
  EXPECT_FALSE(parse_coco(json, "a").pictures[0].labels[0].mask.known());
  const CocoFile file = parse_coco(json, "a", true);
  EXPECT_EQ(file.pictures[0].labels[0].mask, mask_of_box(6, 5, {1, 1, 2, 3}));
  EXPECT_FALSE(file.pictures[0].labels[1].mask.known());
  EXPECT_NE(hash_of_boxes(file.pictures), hash_of_boxes(parse_coco(json, "a").pictures));

  // Results with masks go to disk and back.
  const std::vector<Detection> found = {{1, 0, {1, 1, 2, 3}, 0.5, file.pictures[0].labels[0].mask},
                                        {1, 0, {1, 1, 2, 3}, 0.25}};
  const Json results = coco_results(found, file.categories);
  EXPECT_EQ(parse_coco_results(results, file.categories, "results"), found);
  EXPECT_FALSE(results[1].contains("segmentation"));
}

}  // namespace
}  // namespace attune

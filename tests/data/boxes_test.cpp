#include "attune/data/boxes.h"

#include <set>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/data/boxes_xml.h"
#include "attune/data/coco.h"
#include "attune/data/voc.h"
#include "tests/support/mutations.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const Json kCoco = Json::parse(R"({
  "info": {"year": 2026},
  "images": [{"id": 9, "file_name": "b.png", "width": 40, "height": 30},
             {"id": 2, "file_name": "sub/a.png", "width": 20, "height": 10}],
  "categories": [{"id": 7, "name": "cell"}, {"id": 3, "name": "leaf"}],
  "annotations": [{"id": 1, "image_id": 2, "category_id": 7, "bbox": [1, 2, 3.5, 4], "area": 9, "iscrowd": 0},
                  {"id": 2, "image_id": 9, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": 1}]
})");

std::string voc_text(const std::string& objects, const std::string& file = "a.jpg") {
  return "<?xml version=\"1.0\"?>\n<!-- a comment -->\n<annotation verified=\"no\"><filename>" + file +
         "</filename><size><width>20</width><height>10</height><depth>3</depth></size>" + objects + "</annotation>";
}
std::string object_text(const std::string& name, const std::string& corners) {
  return "<object><name>" + name + "</name><difficult>1</difficult><bndbox>" + corners + "</bndbox></object>";
}
const std::string kCorners = "<xmin>3</xmin><ymin>2</ymin><xmax>12</xmax><ymax>5.5</ymax>";

void expect_refused(const Json& json, const std::vector<std::string>& words) {
  try {
    parse_coco(json, "boxes.json");
    ADD_FAILURE() << "accepted " << json.dump();
  } catch (const Error& problem) {
    for (const std::string& word : words) EXPECT_THAT(problem.what(), HasSubstr(word));
  }
}

TEST(Coco, IsReadInTheOrderOfItsIds) {
  const CocoFile file = parse_coco(kCoco, "boxes.json");
  ASSERT_EQ(file.pictures.size(), 2u);
  EXPECT_EQ(file.categories[0].name, "leaf");
  EXPECT_EQ(file.pictures[0].path, "sub/a.png");
  EXPECT_EQ(file.pictures[0].labels, (std::vector<BoxLabel>{{{1, 2, 3.5, 4}, 1, 9}}));
  EXPECT_EQ(file.pictures[1].labels, (std::vector<BoxLabel>{{{0, 0, 40, 30}, 0, 1200, true}}));
}

TEST(Coco, NamesTheItemAtFault) {
  const auto with = [](const char* list, std::size_t item, const char* key, const Json& value) {
    Json json = kCoco;
    json[list][item][key] = value;
    return json;
  };
  expect_refused(Json::array(), {"boxes.json", "categories"});
  expect_refused(with("annotations", 1, "bbox", {0, 0, -1, 3}), {"boxes.json", "annotation 1", "bbox"});
  expect_refused(with("annotations", 1, "bbox", {0, 0, 1}), {"annotation 1", "bbox"});
  expect_refused(with("annotations", 0, "image_id", 5), {"annotation 0", "image_id", "5"});
  expect_refused(with("annotations", 0, "category_id", "7"), {"annotation 0", "category_id"});
  expect_refused(with("annotations", 0, "iscrowd", 2), {"annotation 0", "iscrowd"});
  expect_refused(with("annotations", 0, "area", -4), {"annotation 0", "area"});
  expect_refused(with("images", 1, "id", 9), {"image 1", "twice"});
  expect_refused(with("images", 1, "file_name", "../x.png"), {"image 1", "../x.png"});
  expect_refused(with("images", 0, "width", 0), {"image 0", "width"});
  expect_refused(with("categories", 1, "name", "cell"), {"category 1", "cell"});
}

TEST(Coco, ResultsComeBack) {
  const std::vector<BoxCategory> categories = parse_coco(kCoco, "boxes.json").categories;
  const std::vector<Detection> detections = {{2, 1, {1, 2, 3, 4.25}, 0.5}, {9, 0, {0, 0, 1, 1}, 0.25}};
  const Json written = coco_results(detections, categories);
  EXPECT_EQ(written[0].dump(), R"({"image_id":2,"category_id":7,"bbox":[1.0,2.0,3.0,4.25],"score":0.5})");
  EXPECT_EQ(parse_coco_results(written, categories, "r.json"), detections);
  Json wrong = written;
  wrong[1]["category_id"] = 8;
  EXPECT_THAT([&] { parse_coco_results(wrong, categories, "r.json"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("r.json, detection 1"), HasSubstr("8"))));
}

TEST(Voc, CornersArePixelsCountedFromOneAndStayInThePicture) {
  const VocPicture picture =
      parse_voc(voc_text(object_text("white &amp; red <![CDATA[<cell>]]>", kCorners) +
                         object_text("&#x64;og", "<xmin>0</xmin><ymin>1</ymin><xmax>25</xmax><ymax>10</ymax>")),
                "a.xml");
  ASSERT_EQ(picture.objects.size(), 2u);
  EXPECT_EQ(picture.objects[0].name, "white & red <cell>");
  EXPECT_EQ(picture.objects[0].box, (Box{2, 1, 10, 4.5}));
  EXPECT_TRUE(picture.objects[0].difficult);
  EXPECT_EQ(picture.objects[1].name, "dog");
  EXPECT_EQ(picture.objects[1].box, (Box{0, 0, 20, 10}));
}

TEST(Voc, NamesTheMemberAtFault) {
  const auto refused = [](const std::string& text, const std::string& word) {
    EXPECT_THAT([&] { parse_voc(text, "a.xml"); }, ThrowsMessage<Error>(AllOf(HasSubstr("a.xml"), HasSubstr(word))));
  };
  refused(voc_text(object_text("dog", "<xmin>1</xmin>")), "object 0: expected <ymin>");
  refused(voc_text(object_text("dog", kCorners + "<xmin>1</xmin>")), "several");
  refused(voc_text(object_text("", kCorners)), "<name>");
  refused(voc_text(object_text("dog", "<xmin>9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>10</ymax>")), "xmin <= xmax");
  refused(voc_text(object_text("dog", "<xmin>90</xmin><ymin>1</ymin><xmax>99</xmax><ymax>10</ymax>")), "within");
  refused(voc_text(object_text("dog", "<xmin>1e9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>10</ymax>")), "<xmin>");
  refused(voc_text("", "../a.jpg"), "../a.jpg");
  refused("<!DOCTYPE x [<!ENTITY a \"b\">]><annotation/>", "document type");
  refused("<annotation>&unknown;</annotation>", "entity");
  refused("<annotation><filename></annotation>", "</filename>");
  refused("\n\n<annotation>", "line 3");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "<a>";
  refused(deep, "deep");
}

TEST(Boxes, DamagedAnnotationsAreReadOrRefusedWithAnError) {
  const std::string good = voc_text(object_text("dog", kCorners) + object_text("c&lt;at", kCorners));
  EXPECT_GT(refusals(3000, [&](KeyedRandom& random) { parse_voc(damaged(good, random), "a.xml"); }), 1000);
  EXPECT_GT(refusals(3000, [](KeyedRandom& random) { parse_coco(damaged(kCoco, random), "boxes.json"); }), 1000);
  const std::string text = kCoco.dump();
  EXPECT_GT(refusals(1000, [&](KeyedRandom& random) { parse_coco(parse_json(damaged(text, random), "x"), "x"); }), 500);
}

TEST(Boxes, VocFolderHasThePartsOfItsLists) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b", "c", "d"}) {
    write_file(folder.path() / "Annotations" / (std::string(name) + ".xml"),
               voc_text(object_text(name == std::string("a") ? "dog" : "cat", kCorners), std::string(name) + ".jpg"));
  }
  write_file(folder.path() / "JPEGImages/a.jpg", "");
  EXPECT_EQ(open_boxes(folder.path()).all.size(), 4u);

  write_file(folder.path() / "ImageSets/Main/train.txt", "c\na\n");
  write_file(folder.path() / "ImageSets/Main/test.txt", "b \n");
  const BoxDataset dataset = open_boxes(folder.path());
  EXPECT_EQ(dataset.layout, "Pascal VOC");
  EXPECT_THAT(dataset.category_names(), ElementsAre("cat", "dog"));
  ASSERT_EQ(dataset.train.size(), 2u);
  EXPECT_EQ(dataset.train[0].path, "JPEGImages/a.jpg");
  EXPECT_EQ(dataset.train[0].labels, (std::vector<BoxLabel>{{{2, 1, 10, 4.5}, 1, 45, false, true}}));
  EXPECT_EQ(dataset.test[0].id, 2);

  write_file(folder.path() / "ImageSets/Main/val.txt", "e\n");
  EXPECT_THAT([&] { open_boxes(folder.path()); }, ThrowsMessage<Error>(AllOf(HasSubstr("val"), HasSubstr("e.xml"))));
}

TEST(Boxes, CocoFoldersAreFoundInTheirLayouts) {
  const TemporaryFolder folder;
  write_json(folder.path() / "one/annotations/instances_train2017.json", kCoco);
  write_json(folder.path() / "one/annotations/instances_val2017.json", kCoco);
  const BoxDataset one = divide_boxes(open_boxes(folder.path() / "one"), 1);
  EXPECT_EQ(one.train[0].path, "train2017/sub/a.png");
  EXPECT_EQ(one.test.size(), 2u);  // there is no test part: the val part is it
  EXPECT_TRUE(one.val.empty());

  write_json(folder.path() / "two/train/_annotations.coco.json", kCoco);
  EXPECT_EQ(open_boxes(folder.path() / "two").train[0].path, "train/sub/a.png");

  write_json(folder.path() / "three/boxes.json", kCoco);
  EXPECT_EQ(open_boxes(folder.path() / "three/boxes.json").all[1].path, "b.png");
  EXPECT_THAT([&] { open_boxes(folder.path() / "three"); }, ThrowsMessage<Error>(HasSubstr("three")));
  EXPECT_THAT([&] { open_boxes(folder.path() / "four"); }, ThrowsMessage<Error>(HasSubstr("four")));
}

TEST(Boxes, ShotsOfAFewHoldEveryCategoryAndGrow) {
  std::vector<BoxPicture> pictures;
  for (std::int64_t i = 0; i < 40; ++i) {
    pictures.push_back({i + 1, std::to_string(i) + ".png", 10, 10, {{{0, 0, 1, 1}, 0, 1}}});
    if (i % 8 == 0) pictures.back().labels.push_back({{1, 1, 2, 2}, 1, 4});
  }
  const auto two = draw_box_shots(pictures, 2, 5), four = draw_box_shots(pictures, 4, 5);
  const auto showing = [](const std::vector<BoxPicture>& drawn, std::int64_t category) {
    return std::count_if(drawn.begin(), drawn.end(), [&](const BoxPicture& picture) {
      return std::any_of(picture.labels.begin(), picture.labels.end(),
                         [&](const BoxLabel& label) { return label.category == category; });
    });
  };
  EXPECT_EQ(showing(two, 1), 2);
  EXPECT_EQ(showing(four, 1), 4);
  EXPECT_GE(showing(two, 0), 2);
  EXPECT_LE(two.size(), 4u);
  std::set<std::int64_t> larger;
  for (const BoxPicture& one : four) larger.insert(one.id);
  for (const BoxPicture& one : two) EXPECT_TRUE(larger.contains(one.id));
  EXPECT_EQ(draw_box_shots(pictures, 0, 5), pictures);
  EXPECT_EQ(draw_box_shots(pictures, 2, 5), two);
  EXPECT_NE(hash_of_boxes(two), hash_of_boxes(four));
}

TEST(Boxes, AnUndividedSetIsDividedByItsSeed) {
  BoxDataset dataset;
  for (std::int64_t i = 0; i < 20; ++i) dataset.all.push_back({i, "x.png", 1, 1, {}});
  const BoxDataset once = divide_boxes(dataset, 3), again = divide_boxes(dataset, 3), other = divide_boxes(dataset, 4);
  EXPECT_EQ(once.train.size(), 10u);
  EXPECT_EQ(once.val.size(), 4u);
  EXPECT_EQ(once.test.size(), 6u);
  EXPECT_EQ(once.test, again.test);
  EXPECT_NE(once.test, other.test);
}

TEST(BoxesOfBloodCells, AreReadWhole) {
  const char* real = std::getenv("ATTUNE_REAL_DATA");
  if (real == nullptr) GTEST_SKIP() << "ATTUNE_REAL_DATA is not set";
  const BoxDataset dataset = open_boxes(std::filesystem::path(real) / "bccd");
  EXPECT_THAT(dataset.category_names(), ElementsAre("Platelets", "RBC", "WBC"));
  std::size_t boxes = 0;
  for (const auto* part : {&dataset.train, &dataset.val, &dataset.test}) {
    for (const BoxPicture& picture : *part) boxes += picture.labels.size();
  }
  EXPECT_EQ(dataset.train.size() + dataset.val.size() + dataset.test.size(), 364u);
  EXPECT_EQ(boxes, 4888u);
}

}  // namespace
}  // namespace attune

#include "attune/data/crops.h"

#include <cstdlib>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/data/layouts.h"
#include "attune/images/decode.h"
#include "attune/images/preprocess.h"
#include "tests/data/support.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

std::string object(const std::string& name, int left, int top, int right, int bottom, bool difficult = false) {
  return "<object><name>" + name + "</name><difficult>" + (difficult ? "1" : "0") + "</difficult><bndbox><xmin>" +
         std::to_string(left) + "</xmin><ymin>" + std::to_string(top) + "</ymin><xmax>" + std::to_string(right) +
         "</xmax><ymax>" + std::to_string(bottom) + "</ymax></bndbox></object>";
}

void write_annotated(const fs::path& root, const std::string& name, const std::string& objects, unsigned seed,
                     int annotated_width = 40) {
  write_file(root / "JPEGImages" / (name + ".png"), encode_png(test_image(40, 30, seed)));
  write_file(root / "Annotations" / (name + ".xml"),
             "<annotation><filename>" + name + ".png</filename><size><width>" + std::to_string(annotated_width) +
                 "</width><height>30</height></size>" + objects + "</annotation>");
}

/// Two pictures: a has a cell at 10, 5 of 20 x 10 pixels, a small one and a hard one; b has a leaf at the edge.
void write_set(const fs::path& root) {
  write_annotated(
      root, "a",
      object("red cell", 11, 6, 30, 15) + object("red cell", 1, 1, 3, 20) + object("red cell", 1, 1, 20, 20, true), 1);
  write_annotated(root, "b", object("leaf", 21, 11, 40, 30), 2);
  write_file(root / "ImageSets" / "Main" / "train.txt", "a\n");
  write_file(root / "ImageSets" / "Main" / "test.txt", "b\n");
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Crops, AreTheBoxesWithTheirMarginCutOffAtTheEdge) {
  const TemporaryFolder folder;
  write_set(folder.path() / "set");
  const fs::path out = folder.path() / "out";
  const CropReport report = cut_crops(open_boxes(folder.path() / "set"), out, {0.1, 8});

  EXPECT_THAT(report.counts, ElementsAre(CropCount{"train", "red cell", 1}, CropCount{"test", "leaf", 1}));
  EXPECT_EQ(report.small, 1);
  EXPECT_EQ(report.ignored, 1);
  EXPECT_THAT(files_below(out), ElementsAre("crops.csv", "test/leaf/b-0.png", "train/red cell/a-0.png"));
  EXPECT_EQ(read_image(out / "train/red cell/a-0.png"), crop(test_image(40, 30, 1), 8, 4, 24, 12));
  EXPECT_EQ(read_image(out / "test/leaf/b-0.png"), crop(test_image(40, 30, 2), 18, 8, 22, 22));
  EXPECT_THAT(read_lines(out / "crops.csv"),
              ElementsAre("filepath,label,classname,split,picture,box,left,top,width,height",
                          "train/red cell/a-0.png,1,red cell,train,JPEGImages/a.png,0,8,4,24,12",
                          "test/leaf/b-0.png,0,leaf,test,JPEGImages/b.png,0,18,8,22,22"));
}

TEST(Crops, WithoutAMarginAreTheBoxesThemselves) {
  const TemporaryFolder folder;
  write_set(folder.path() / "set");
  cut_crops(open_boxes(folder.path() / "set"), folder.path() / "out", {0, 3});
  EXPECT_EQ(read_image(folder.path() / "out/train/red cell/a-0.png"), crop(test_image(40, 30, 1), 10, 5, 20, 10));
  EXPECT_EQ(read_image(folder.path() / "out/train/red cell/a-1.png"), crop(test_image(40, 30, 1), 0, 0, 3, 20));
}

TEST(Crops, FolderIsADataSetWithThePartsOfItsOrigin) {
  const TemporaryFolder folder;
  write_set(folder.path() / "set");
  cut_crops(open_boxes(folder.path() / "set"), folder.path() / "out", {0.1, 8});
  const Dataset dataset = open_dataset((folder.path() / "out").string());
  EXPECT_THAT(dataset.classes, ElementsAre("leaf", "red cell"));
  ASSERT_EQ(dataset.train.size(), 1u);
  EXPECT_EQ(dataset.train[0].label, 1);
  EXPECT_EQ(dataset.test.size(), 1u);
}

TEST(Crops, AnUndividedCocoFileGivesAnUndividedSet) {
  const TemporaryFolder folder;
  write_file(folder.path() / "set/images/sub/a.png", encode_png(test_image(40, 30, 3)));
  write_file(folder.path() / "set/boxes.json", R"({
    "images": [{"id": 4, "file_name": "sub/a.png", "width": 40, "height": 30}],
    "categories": [{"id": 3, "name": "never seen"}, {"id": 7, "name": "cell/round, small"}],
    "annotations": [{"id": 1, "image_id": 4, "category_id": 7, "bbox": [1.5, 2.5, 10, 10], "iscrowd": 0},
                    {"id": 2, "image_id": 4, "category_id": 7, "bbox": [0, 0, 40, 30], "iscrowd": 1}]})");
  const CropReport report = cut_crops(open_boxes(folder.path() / "set/boxes.json"), folder.path() / "out", {0, 8});
  EXPECT_EQ(report.crowds, 1);
  EXPECT_EQ(read_image(folder.path() / "out/cell_round, small/a-0.png"), crop(test_image(40, 30, 3), 1, 2, 11, 11));
  const Dataset dataset = open_dataset((folder.path() / "out").string());
  EXPECT_THAT(dataset.classes, ElementsAre("cell/round, small"));
  EXPECT_EQ(dataset.all.size(), 1u);
}

TEST(Crops, ComeOutTheSameTwice) {
  const TemporaryFolder folder;
  write_set(folder.path() / "set");
  const BoxDataset dataset = open_boxes(folder.path() / "set");
  cut_crops(dataset, folder.path() / "one", {0.25, 3});
  cut_crops(dataset, folder.path() / "two", {0.25, 3});
  const std::vector<fs::path> files = files_below(folder.path() / "one");
  EXPECT_EQ(files, files_below(folder.path() / "two"));
  for (const fs::path& file : files) {
    EXPECT_EQ(read_file(folder.path() / "one" / file), read_file(folder.path() / "two" / file)) << file;
  }
}

TEST(Crops, NothingIsOverwrittenAndNothingIsLeftHalfWritten) {
  const TemporaryFolder folder;
  write_set(folder.path() / "set");
  const fs::path out = folder.path() / "out";
  const BoxDataset good = open_boxes(folder.path() / "set");
  cut_crops(good, out, {0.1, 8});
  EXPECT_THAT(error_of([&] { cut_crops(good, out, {0.1, 8}); }), HasSubstr("exists already"));

  write_file(folder.path() / "set/JPEGImages/b.png", "no picture");
  const fs::path broken = folder.path() / "broken";
  EXPECT_THAT(error_of([&] { cut_crops(good, broken, {0.1, 8}); }), HasSubstr("b.png"));
  EXPECT_FALSE(fs::exists(broken));
  EXPECT_FALSE(fs::exists(folder.path() / "broken.unfinished"));
}

TEST(Crops, ErrorsNameThePictureAndTheBox) {
  const TemporaryFolder folder;
  const fs::path root = folder.path() / "set";
  write_annotated(root, "wide", object("cell", 1, 1, 20, 20), 1, 50);
  BoxDataset dataset = open_boxes(root);
  const auto refused = [&](const CropOptions& options) {
    return error_of([&] { cut_crops(dataset, folder.path() / "out", options); });
  };
  EXPECT_THAT(refused({}), testing::AllOf(HasSubstr("wide.png"), HasSubstr("50 x 30"), HasSubstr("40 x 30")));
  dataset.all[0].width = 40;
  dataset.all[0].labels.push_back({{60, 5, 20, 20}, 0, 400});
  EXPECT_THAT(refused({}), testing::AllOf(HasSubstr("wide.png, box 1"), HasSubstr("60")));
  dataset.all[0].labels.pop_back();
  dataset.all.push_back(dataset.all[0]);
  EXPECT_THAT(refused({}), testing::AllOf(HasSubstr("wide.png, box 0"), HasSubstr("cell/wide-0.png")));
  EXPECT_THAT(refused({0.1, 500}), HasSubstr("500 pixels"));
  EXPECT_THAT(refused({-0.1, 8}), HasSubstr("--margin"));
  EXPECT_THAT(refused({0.1, 0}), HasSubstr("--least"));
  dataset.categories.push_back({2, "cell"});
  EXPECT_THAT(refused({}), HasSubstr("share the folder"));
}

TEST(Crops, OfBloodCellsAreAllButTheTiniestSlow) {
  const char* real = std::getenv("ATTUNE_REAL_DATA");
  if (real == nullptr) GTEST_SKIP() << "ATTUNE_REAL_DATA is not set";
  const TemporaryFolder folder;
  BoxDataset cells = open_boxes(fs::path(real) / "bccd");
  cells.train.clear();
  cells.val.clear();
  const CropReport report = cut_crops(cells, folder.path() / "out");
  EXPECT_THAT(report.counts, ElementsAre(CropCount{"test", "Platelets", 69}, CropCount{"test", "RBC", 805},
                                         CropCount{"test", "WBC", 71}));
  EXPECT_EQ(report.small, 0);
}

}  // namespace
}  // namespace attune

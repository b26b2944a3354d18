#include "attune/data/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/data/layouts.h"
#include "attune/data/parallel.h"
#include "tests/data/support.h"

namespace attune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(CheckDataset, FindsBrokenAndDuplicatePicturesAndBadNames) {
  const TemporaryFolder folder;
  write_picture(folder.path() / "train/cat/1.png", 1, 20);
  write_picture(folder.path() / "train/cat/2.png", 2, 8);
  write_picture(folder.path() / "train/class_7/3.png", 3);
  write_picture(folder.path() / "test/class_7/4.png", 2, 8);
  write_file(folder.path() / "test/cat/5.png", "no picture");
  const Dataset dataset = open_dataset(folder.path().string());
  const DatasetReport report = check_dataset(dataset, 2);
  EXPECT_EQ(report.whole.train, 3);
  EXPECT_EQ(report.whole.test, 2);
  EXPECT_EQ(report.classes.at(0).name, "cat");
  EXPECT_EQ(report.classes.at(0).train, 2);
  EXPECT_EQ(report.classes.at(0).total(), 3);
  EXPECT_EQ(report.domains.at(0).total(), 5);
  EXPECT_THAT(report.broken, ElementsAre(HasSubstr("5.png")));
  ASSERT_THAT(report.duplicates, SizeIs(1));
  EXPECT_THAT(report.duplicates[0].paths, ElementsAre("test/class_7/4.png", "train/cat/2.png"));
  EXPECT_TRUE(report.duplicates[0].across_parts);
  EXPECT_TRUE(report.duplicates[0].across_classes);
  EXPECT_THAT(report.name_problems, ElementsAre(HasSubstr("class 7")));
  EXPECT_EQ(report.smallest_side, 8);
  EXPECT_EQ(report.largest_side, 20);
  EXPECT_FALSE(report.good());
}

TEST(CheckDataset, NamesThatDifferInCaseOnlyArePlaceholdersOrAreLongAreProblems) {
  EXPECT_THAT(class_name_problems({"tabby cat", "boeing 747"}), SizeIs(0));
  EXPECT_THAT(class_name_problems({"Cat", "cat"}), SizeIs(1));
  EXPECT_THAT(class_name_problems({"3", "class0", "n01440764"}), SizeIs(3));
  EXPECT_THAT(class_name_problems({std::string(61, 'x')}), SizeIs(1));
}

TEST(ContactSheet, ShowsTheFirstPictureOfEachClass) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a/1.png", encode_png(Image{2, 1, {200, 0, 0, 200, 0, 0}}));
  write_file(folder.path() / "b/1.png", "no picture");
  const Dataset dataset = open_dataset(folder.path().string());
  const Image sheet = contact_sheet(dataset, 2, 4);
  EXPECT_EQ(sheet.width, 8);
  EXPECT_EQ(sheet.height, 4);
  const auto red = [&](int x, int y) { return sheet.rgb[static_cast<std::size_t>((y * 8 + x) * 3)]; };
  EXPECT_EQ(red(0, 0), 255);  // white above the wide picture
  EXPECT_EQ(red(0, 1), 200);
  EXPECT_EQ(red(4, 0), 128);  // grey for the broken one
  EXPECT_THROW(contact_sheet(dataset, 0, 4), UsageError);
  EXPECT_THROW(contact_sheet(dataset, 1'000'000, 1'000'000), UsageError);
}

TEST(ParallelFor, DoesEverythingOnceAndPassesOnTheFirstError) {
  std::vector<int> done(1000);
  parallel_for(1000, 4, [&](std::int64_t i) { ++done[static_cast<std::size_t>(i)]; });
  EXPECT_EQ(done, std::vector<int>(1000, 1));
  EXPECT_THAT(error_of([] {
                parallel_for(100, 3, [](std::int64_t i) {
                  if (i == 50) throw Error("at 50");
                });
              }),
              "at 50");
  EXPECT_THROW(parallel_for(1, 0, [](std::int64_t) {}), UsageError);
}

}  // namespace
}  // namespace attune

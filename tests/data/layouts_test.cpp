#include "attune/data/layouts.h"

#include <cstdlib>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/json.h"
#include "attune/data/check.h"
#include "attune/data/class_names.h"
#include "attune/data/split_files.h"
#include "tests/data/support.h"

namespace attune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Layouts : public ::testing::Test {
 protected:
  void touch(const std::string& path) { write_file(root() / path, "x"); }
  std::filesystem::path root() const { return folder_.path() / "pets"; }
  Dataset open() { return open_dataset(root().string()); }
  std::string error() {
    return error_of([&] { open(); });
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(Layouts, ClassFoldersAreNumberedInByteOrderWithReadableNames) {
  for (const char* path : {"tabby_cat/b.jpg", "tabby_cat/a.PNG", "Dog/1.webp", "Dog/.hidden.jpg", "Dog/notes.txt"})
    touch(path);
  const Dataset dataset = open();
  EXPECT_EQ(dataset.name, "pets");
  EXPECT_EQ(dataset.layout, "image folder class/*");
  EXPECT_THAT(dataset.classes, ElementsAre("Dog", "tabby cat"));
  EXPECT_THAT(dataset.domains, ElementsAre(""));
  ASSERT_THAT(dataset.all, SizeIs(3));
  EXPECT_EQ(dataset.all[1].path, "tabby_cat/a.PNG");
  EXPECT_EQ(dataset.all[1].label, 1);
  EXPECT_THAT(dataset.notes, ElementsAre(HasSubstr("notes.txt")));
}

TEST_F(Layouts, SplitNamesOnTheFirstLevelAreParts) {
  for (const char* path : {"train/a/1.jpg", "train/b/1.jpg", "valid/a/2.jpg", "test/b/3.jpg"}) touch(path);
  const Dataset dataset = open();
  EXPECT_EQ(dataset.layout, "image folder split/class/*");
  EXPECT_THAT(dataset.train, SizeIs(2));
  EXPECT_THAT(dataset.val, SizeIs(1));
  EXPECT_EQ(dataset.test.at(0).label, 1);
}

TEST_F(Layouts, OtherNamesOnTheFirstLevelAreDomains) {
  for (const char* path : {"photo/dog/1.jpg", "photo/cat/1.jpg", "art_painting/dog/1.jpg"}) touch(path);
  const Dataset dataset = open();
  EXPECT_EQ(dataset.layout, "domain folder domain/class/*");
  EXPECT_THAT(dataset.domains, ElementsAre("art_painting", "photo"));
  EXPECT_EQ(dataset.all.at(0).domain, 0);
  EXPECT_EQ(dataset.all.at(0).label, 1);
  EXPECT_THAT(keep_domains(dataset, {"photo"}).all, SizeIs(2));
  EXPECT_THROW(keep_domains(dataset, {"sketch"}), UsageError);
}

TEST_F(Layouts, VlcsFullAndTestAreTrainAndTest) {
  for (const char* path : {"SUN/full/dog/1.jpg", "SUN/train/dog/1.jpg", "SUN/test/dog/2.jpg", "PASCAL/full/dog/1.jpg",
                           "PASCAL/test/dog/2.jpg"})
    touch(path);
  const Dataset dataset = open();
  EXPECT_THAT(dataset.train, SizeIs(2));
  EXPECT_THAT(dataset.test, SizeIs(2));
  EXPECT_THAT(dataset.notes, ElementsAre(HasSubstr("SUN/train")));
}

TEST_F(Layouts, VlcsClassesThatAreNumbersGetTheirNames) {
  for (const char* domain : {"CALTECH", "SUN"}) {
    for (int c = 0; c < 5; ++c) touch(fmt::format("{}/full/{}/1.jpg", domain, c));
  }
  EXPECT_THAT(open().classes, ElementsAre("bird", "car", "chair", "dog", "person"));
  write_file(root() / "classnames.json", R"(["a", "b", "c", "d", "e"])");
  EXPECT_THAT(open().classes, ElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(Layouts, ImageNetsValidationPicturesAreThoseForTesting) {
  for (const char* id : {"n04355933", "n04356056", "n01440764"}) {
    touch(fmt::format("images/train/{}/a.JPEG", id));
    touch(fmt::format("images/val/{}/b.JPEG", id));
  }
  write_file(root() / "classnames.txt", "n01440764 tench\nn04355933 sunglasses\nn04356056 sunglasses\n");
  const Dataset dataset = open();
  EXPECT_THAT(dataset.classes, ElementsAre("tench", "sunglasses", "sunglasses"));
  EXPECT_THAT(dataset.train, SizeIs(3));
  EXPECT_EQ(dataset.test, dataset.val);
  EXPECT_EQ(dataset.test.at(0).path, "images/val/n01440764/b.JPEG");
}

TEST_F(Layouts, VariantsOfImageNetAreForTestingOnly) {
  const std::filesystem::path sketch = root().parent_path() / "imagenet-sketch",
                              second = root().parent_path() / "imagenetv2";
  for (const std::filesystem::path& set : {sketch, second})
    write_file(set / "classnames.txt", "n01440764 tench\nn01443537 goldfish\n");
  for (const char* id : {"n01443537", "n01440764"}) write_file(sketch / "images" / id / "a.jpg", "x");
  for (const char* number : {"0", "1"}) write_file(second / "matched" / number / "a.jpg", "x");
  for (const std::filesystem::path& set : {sketch, second}) {
    const Dataset dataset = open_dataset(set.string());
    EXPECT_THAT(dataset.classes, ElementsAre("tench", "goldfish")) << set;
    EXPECT_THAT(dataset.test, SizeIs(2)) << set;
    EXPECT_TRUE(dataset.train.empty() && dataset.all.empty()) << set;
  }
}

TEST_F(Layouts, AircraftVariantsAreNumberedByTheirList) {
  for (const char* picture : {"01", "02", "03"}) touch(fmt::format("images/{}.jpg", picture));
  write_file(root() / "variants.txt", "727-200\r\n707-320\nF-16A/B\n");
  write_file(root() / "images_variant_train.txt", "01 707-320\n02 F-16A/B\n");
  write_file(root() / "images_variant_val.txt", "03 727-200\n");
  write_file(root() / "images_variant_test.txt", "01 727-200");
  const Dataset dataset = open();
  EXPECT_EQ(dataset.layout, "FGVC-Aircraft");
  EXPECT_THAT(dataset.classes, ElementsAre("727-200", "707-320", "F-16A/B"));
  EXPECT_EQ(dataset.train.at(1).label, 2);
  EXPECT_EQ(dataset.val.at(0).path, "images/03.jpg");
  EXPECT_EQ(dataset.prompt_template, "a photo of a {}, a type of aircraft.");
  write_file(root() / "images_variant_val.txt", "03 727-300\n");
  EXPECT_THAT(error(), HasSubstr("images_variant_val.txt:1: expected a picture and a class of variants.txt"));
  write_file(root() / "images_variant_val.txt", "\n04 727-200\n");
  EXPECT_THAT(error(), HasSubstr("04.jpg, which does not exist"));
  write_file(root() / "images_variant_val.txt", "../../03 727-200\n");
  EXPECT_THAT(error(), HasSubstr("images_variant_val.txt:1"));
}

TEST_F(Layouts, BrokenFoldersAreErrorsThatNameThem) {
  std::filesystem::create_directories(root());
  EXPECT_THAT(error(), HasSubstr("found no folder"));
  touch("a/1.jpg");
  std::filesystem::create_directories(root() / "empty");
  EXPECT_THAT(error(), HasSubstr("empty: expected a class with at least one picture"));
  touch("empty/x/1.jpg");
  EXPECT_THAT(error(), HasSubstr("one level"));
  touch("empty/1.jpg");
  EXPECT_THAT(error(), HasSubstr("pictures or folders, found both"));
}

TEST_F(Layouts, SplitsBesideOtherFoldersAreAmbiguous) {
  touch("train/a/1.jpg");
  touch("extra/a/1.jpg");
  EXPECT_THAT(error(), HasSubstr("splits or domains, found both: extra, train"));
}

TEST_F(Layouts, TwoFoldersWithOneReadableNameAreRefused) {
  touch("red_fox/1.jpg");
  touch("red fox/1.jpg");
  EXPECT_THAT(error(), HasSubstr("\"red fox\" twice"));
}

TEST_F(Layouts, ClassNameFilesOverride) {
  touch("class0/1.jpg");
  touch("class1/1.jpg");
  write_file(root() / "classnames.json", R"({"class0": "granite", "class1": "basalt"})");
  EXPECT_THAT(open().classes, ElementsAre("granite", "basalt"));
  write_file(root() / "classnames.json", R"(["granite"])");
  EXPECT_THAT(error(), HasSubstr("expected 2 class names"));
  write_file(root() / "classnames.json", R"({"clas0": "granite"})");
  EXPECT_THAT(error(), HasSubstr("found none of the classes"));
  write_file(root() / "classnames.json", R"({"class0": "basalt", "class1": "basalt"})");
  EXPECT_THAT(error(), HasSubstr("\"basalt\" twice"));
  write_file(root() / "classnames.txt", "class1 basalt rock\r\nclass0 granite\n\nclass2 gneiss\n");
  EXPECT_THAT(error(), HasSubstr("found both"));
  std::filesystem::remove(root() / "classnames.json");
  EXPECT_THAT(open().classes, ElementsAre("granite", "basalt rock"));
  write_file(root() / "classnames.txt", "granite\nbasalt\n");
  EXPECT_THAT(open().classes, ElementsAre("granite", "basalt"));
}

TEST_F(Layouts, CoopSplitFileFindsItsPicturesInASubfolder) {
  touch("images/x.jpg");
  touch("images/y.jpg");
  const auto split = root() / "split_zhou_Pets.json";
  write_file(
      split,
      R"({"train": [["y.jpg", 1, "b_b"], ["x.jpg", 0, "a"]], "val": [["x.jpg", 0, "a"]], "test": [["y.jpg", 1, "b_b"]]})");
  const Dataset dataset = open();
  EXPECT_EQ(dataset.layout, "CoOp split file");
  EXPECT_EQ(dataset.root, root() / "images");
  EXPECT_EQ(dataset.train.at(0).label, 1);  // the order of the file is kept: CoOp's draws depend on it
  EXPECT_THAT(dataset.classes, ElementsAre("a", "b b"));
  EXPECT_EQ(open_dataset(split.string()).train, dataset.train);
  write_file(root() / "split_cao_Pets.json", "{}");
  EXPECT_THAT(error(), HasSubstr("split_cao_Pets.json, split_zhou_Pets.json"));
}

TEST_F(Layouts, SplitFilesOfKnownDataSetsBringTheirTemplate) {
  touch("BTMRI/glioma/x.jpg");
  const auto template_of = [&](const std::string& name) {
    const auto split = root() / name;
    write_file(split, R"({"train": [["glioma/x.jpg", 0, "glioma"]], "val": [], "test": []})");
    return open_dataset(split.string()).prompt_template;
  };
  EXPECT_EQ(template_of("split_cao_BTMRI.json"), "a photo of {}.");
  EXPECT_EQ(template_of("split_zhou_DescribableTextures.json"), "{} texture.");
  EXPECT_EQ(template_of("split_zhou_MyOwn.json"), "a photo of a {}.");
  EXPECT_EQ(template_of("split_BTMRI.json"), "a photo of a {}.");
}

TEST_F(Layouts, WrongItemsOfSplitFilesAreNamed) {
  touch("x.jpg");
  const auto error_with = [&](const std::string& train) {
    write_file(root() / "split_zhou_Pets.json", R"({"train": [["x.jpg", 0, "a"], )" + train + "]}");
    return error();
  };
  EXPECT_THAT(error_with(R"(["z.jpg", 1, "b"])"), HasSubstr("z.jpg, which does not exist"));
  EXPECT_THAT(error_with(R"(["x.jpg", -1, "b"])"),
              HasSubstr("train[1]: expected the label to be an integer between 0"));
  EXPECT_THAT(error_with(R"(["x.jpg", 2, "b"])"), HasSubstr("no picture has label 1"));
  EXPECT_THAT(error_with(R"(["x.jpg", 0, "b"])"), HasSubstr("label 0 to be \"a\""));
  EXPECT_THAT(error_with(R"(["x.jpg", 1, "a"])"), HasSubstr("\"a\" twice"));
  EXPECT_THAT(error_with(R"(["../x.jpg", 1, "b"])"), HasSubstr("expected a path inside"));
  EXPECT_THAT(error_with(R"(["/etc/passwd", 1, "b"])"), HasSubstr("expected a path inside"));
  EXPECT_THAT(error_with(R"(["x.jpg", 1])"), HasSubstr("train[1]: expected [path, label, class name]"));
  EXPECT_THAT(error_with(R"(["x.jpg", 1.5, "b"])"), HasSubstr("integer"));
  EXPECT_THAT(error_with(R"(["x.jpg", 1, 0, "b"])"), HasSubstr("list of 3"));
}

TEST_F(Layouts, SpgSplitFilesAreJoinedAndNamedByTheirFolders) {
  for (const char* path : {"art_painting/dog/1.jpg", "sketch/dog/1.jpg", "sketch/cat/1.jpg"}) touch(path);
  write_file(root() / "spg_coop_splits/a_train_val_split.json",
             R"({"train": [["pets/art_painting/dog/1.jpg", 1, 0, "dog"]], "val": [], "test": []})");
  write_file(root() / "spg_coop_splits/s_train_val_split.json",
             R"({"train": [["pets/sketch/dog/1.jpg", 1, 3, "dog"]], "val": [["pets/sketch/cat/1.jpg", 0, 3, "cat"]],
                 "test": [["pets/sketch/cat/1.jpg", 0, 3, "cat"]]})");
  const Dataset dataset = open();
  EXPECT_EQ(dataset.layout, "SPG split files");
  EXPECT_THAT(dataset.domains, ElementsAre("art_painting", "sketch"));
  EXPECT_THAT(dataset.train, SizeIs(2));
  EXPECT_EQ(dataset.test.at(0).domain, 1);
  std::filesystem::remove(root() / "spg_coop_splits/a_train_val_split.json");
  EXPECT_THAT(open().domains, ElementsAre("s"));
}

/// The paths that the authors' files have for their five benchmarks, from the folder that holds the data sets.
TEST_F(Layouts, SplitFilesOfAllFiveBenchmarksNameTheirDomains) {
  struct Benchmark {
    std::string folder, first, second;  // first and second: DOMAIN/.../CLASS of two domains
    std::vector<std::string> letters, domains;
  };
  const Benchmark benchmarks[] = {
      {"PACS", "art_painting/dog", "sketch/dog", {"a", "s"}, {"art_painting", "sketch"}},
      {"VLCS", "CALTECH/full/3", "SUN/test/3", {"c", "s"}, {"CALTECH", "SUN"}},
      {"office_home", "art/Alarm_Clock", "real_world/Alarm_Clock", {"a", "r"}, {"art", "real_world"}},
      {"terra_incognita", "location_100/dog", "location_46/dog", {"1", "4"}, {"location_100", "location_46"}},
      {"domainnet", "clipart/dog", "sketch/dog", {"c", "s"}, {"clipart", "sketch"}}};
  for (const Benchmark& one : benchmarks) {
    SCOPED_TRACE(one.folder);
    const std::filesystem::path set = root().parent_path() / one.folder;
    const std::string places[] = {one.first, one.second};
    for (int d = 0; d < 2; ++d) {
      write_file(set / "images" / places[d] / "1.jpg", "x");
      const std::string item =
          fmt::format(R"(["{}/images/{}/1.jpg", 0, {}, "some_class"])", one.folder, places[d], 3 * d);
      write_file(set / "spg_coop_splits" / (one.letters[static_cast<std::size_t>(d)] + "_train_val_split.json"),
                 fmt::format(R"({{"train": [{0}], "val": [{0}], "test": [{0}]}})", item));
    }
    const Dataset dataset = open_dataset(set.string());
    EXPECT_EQ(dataset.layout, "SPG split files");
    EXPECT_EQ(dataset.domains, one.domains);
    EXPECT_THAT(dataset.classes, ElementsAre("some class"));
    EXPECT_THAT(dataset.train, SizeIs(2));
  }
}

TEST_F(Layouts, JsonLinesAndCsvSayTheSame) {
  touch("x.jpg");
  touch("y.jpg");
  write_file(
      root() / "list.csv",
      "filepath,label,split,domain,caption\r\nx.jpg,cat,train,photo,\"a cat, asleep\"\r\ny.jpg,dog,test,sketch,\r\n");
  const Dataset csv = open();
  EXPECT_EQ(csv.layout, "CSV");
  EXPECT_THAT(csv.classes, ElementsAre("cat", "dog"));
  EXPECT_EQ(csv.train.at(0).caption, "a cat, asleep");
  EXPECT_EQ(csv.domains.at(static_cast<std::size_t>(csv.test.at(0).domain)), "sketch");
  std::filesystem::remove(root() / "list.csv");
  write_file(
      root() / "shots.jsonl",
      "{\"impath\": \"x.jpg\", \"label\": 0, \"classname\": \"cat\", \"split\": \"train\", \"domain\": \"photo\", "
      "\"caption\": \"a cat, asleep\"}\n\n{\"impath\": \"y.jpg\", \"label\": 1, \"classname\": \"dog\", \"split\": "
      "\"test\", \"domain\": \"sketch\"}");
  const Dataset lines = open();
  EXPECT_EQ(lines.layout, "JSON lines");
  EXPECT_EQ(lines.train, csv.train);
  EXPECT_EQ(lines.test, csv.test);
  EXPECT_EQ(lines.classes, csv.classes);
}

TEST(SplitFiles, ErrorsNameTheLine) {
  EXPECT_THAT(error_of([] { parse_jsonl("{\"path\": \"x\", \"label\": 0}\n{\"label\": 1}", "f", Part::kAll); }),
              HasSubstr("f:2"));
  EXPECT_THAT(error_of([] { parse_jsonl("[]", "f", Part::kAll); }), HasSubstr("f:1: expected an object"));
  EXPECT_THAT(error_of([] { parse_jsonl(" \n", "f", Part::kAll); }), HasSubstr("found none"));
  EXPECT_THAT(error_of([] { parse_csv_listing("filepath,label\nx,0,1\n", "f", Part::kAll); }),
              HasSubstr("f:2: expected 2 columns"));
  EXPECT_THAT(error_of([] { parse_csv_listing("filepath,label\nx,-1\n", "f", Part::kAll); }), HasSubstr("at least 0"));
  EXPECT_THAT(error_of([] { parse_csv_listing("filepath,split\nx,train\n", "f", Part::kAll); }),
              HasSubstr("\"label\""));
  EXPECT_THAT(error_of([] { parse_csv_listing("filepath,label,split\nx,0,best\n", "f", Part::kAll); }),
              HasSubstr("\"best\""));
  EXPECT_THAT(error_of([] { parse_csv_listing("filepath,label\n", "f", Part::kAll); }), HasSubstr("only the header"));
  EXPECT_THAT(error_of([] { parse_csv_listing("", "f", Part::kAll); }), HasSubstr("empty"));
  EXPECT_THAT(error_of([] { parse_class_names_json("[1]", "f"); }), HasSubstr("string"));
  EXPECT_THAT(error_of([] { parse_class_names_json("{}", "f"); }), HasSubstr("list of class names"));
}

TEST(SplitFiles, EveryTruncationIsAnErrorOrAList) {
  const std::string whole = R"({"train": [["a/b.jpg", 0, 1, "x"]], "val": [["a/c.jpg", 1, 1, "y"]], "test": []})";
  EXPECT_EQ(parse_split_json(whole, "f").entries.size(), 2U);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THROW(parse_split_json(std::string_view(whole).substr(0, length), "f"), Error) << length;
  }
}

TEST(RealDatasets, HaveTheirKnownCounts) {
  const char* real = std::getenv("ATTUNE_REAL_DATA");
  if (real == nullptr) GTEST_SKIP() << "ATTUNE_REAL_DATA names no folder of real image sets";
  const std::filesystem::path folder(real);
  const Dataset grocery = open_dataset((folder / "grocery").string());
  EXPECT_EQ(grocery.classes.size(), 81U);
  EXPECT_EQ(grocery.train.size(), 2640U);
  EXPECT_EQ(grocery.val.size(), 296U);
  EXPECT_EQ(grocery.test.size(), 2485U);
  const Dataset lithology = open_dataset((folder / "lithology").string());
  EXPECT_EQ(lithology.classes.size(), 3U);
  EXPECT_EQ(lithology.train.size(), 1525U);
  EXPECT_EQ(lithology.test.size(), 440U);
  EXPECT_THAT(class_name_problems(lithology.classes), SizeIs(3));
}

}  // namespace
}  // namespace attune

#include "attune/data/splits.h"

#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/json.h"
#include "attune/data/class_names.h"
#include "attune/data/cpython_random.h"
#include "attune/data/split_files.h"
#include "tests/data/support.h"

namespace attune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const Json& golden() {
  static const Json json = read_json(std::filesystem::path(ATTUNE_TEST_DATA) / "coop_draws.json");
  return json;
}

std::vector<std::string> paths(const std::vector<Sample>& samples) {
  std::vector<std::string> list;
  for (const Sample& sample : samples) list.push_back(sample.path.generic_string());
  return list;
}

Dataset golden_dataset() {
  std::vector<std::string> raw;
  return number_classes(parse_split_json(golden()["split"].dump(), "golden"), raw);
}

Dataset undivided(std::vector<int> sizes) {
  Dataset dataset;
  dataset.name = "made";
  dataset.root = "/pictures";
  dataset.domains = {""};
  for (std::size_t label = 0; label < sizes.size(); ++label) {
    dataset.classes.push_back("class " + std::string(1, static_cast<char>('a' + label)));
    for (int i = 0; i < sizes[label]; ++i) {
      Sample sample;
      sample.path = std::to_string(label) + "/" + std::to_string(100 + i) + ".jpg";
      sample.label = static_cast<std::int64_t>(label);
      dataset.all.push_back(sample);
    }
  }
  return dataset;
}

std::map<std::int64_t, std::size_t> counts(const std::vector<Sample>& samples) {
  std::map<std::int64_t, std::size_t> found;
  for (const Sample& sample : samples) ++found[sample.label];
  return found;
}

TEST(CpythonRandom, SamplesAsCpythonDoes) {
  for (const Json& item : golden()["samples"]) {
    CpythonRandom random(std::stoull(item["seed"].get<std::string>()));
    EXPECT_EQ(random.sample(item["size"].get<std::size_t>(), item["count"].get<std::size_t>()),
              item["picked"].get<std::vector<std::size_t>>())
        << item.dump();
  }
  EXPECT_THROW(CpythonRandom(1).sample(3, 4), Error);
}

TEST(FewShot, CoopDrawsEqualCoopsOwn) {
  const Dataset dataset = golden_dataset();
  for (const Json& draw : golden()["draws"]) {
    const Dataset drawn =
        draw_few_shot(dataset, {draw["shots"].get<int>(), draw["seed"].get<std::uint64_t>(), DrawRule::kCoop});
    EXPECT_EQ(paths(drawn.train), draw["train"].get<std::vector<std::string>>())
        << draw["seed"] << " " << draw["shots"];
    EXPECT_EQ(paths(drawn.val), draw["val"].get<std::vector<std::string>>()) << draw["seed"] << " " << draw["shots"];
    EXPECT_EQ(drawn.test, dataset.test);
  }
}

TEST(FewShot, KeyedDrawsAreNestedAndIgnoreTheOrderOfTheList) {
  Dataset dataset = golden_dataset();
  std::set<std::string> larger;
  for (const int shots : {16, 8, 4, 2, 1}) {
    const Dataset drawn = draw_few_shot(dataset, {shots, 7});
    std::set<std::string> found;
    for (const std::string& path : paths(drawn.train)) found.insert(path);
    EXPECT_EQ(counts(drawn.train)[2], static_cast<std::size_t>(shots));
    EXPECT_EQ(counts(drawn.val)[2], static_cast<std::size_t>(std::min(shots, 4)));
    if (!larger.empty()) EXPECT_TRUE(std::includes(larger.begin(), larger.end(), found.begin(), found.end()));
    larger = found;
  }
  const Dataset before = draw_few_shot(dataset, {4, 7});
  std::reverse(dataset.train.begin(), dataset.train.end());
  EXPECT_EQ(draw_few_shot(dataset, {4, 7}).train, before.train);
  EXPECT_NE(draw_few_shot(dataset, {4, 8}).train, before.train);
}

TEST(FewShot, SmallClassesGiveAllAndAreNoted) {
  for (const DrawRule rule : {DrawRule::kKeyed, DrawRule::kCoop}) {
    const Dataset drawn = draw_few_shot(golden_dataset(), {16, 1, rule});
    EXPECT_EQ(counts(drawn.train)[0], 3U);
    EXPECT_THAT(drawn.notes, ::testing::Contains(HasSubstr("train: 3 pictures of \"name_0\" instead of 16")));
  }
}

TEST(FewShot, ValidationComesFromWhatTrainingLeftWhereThereIsNoValPart) {
  Dataset dataset = golden_dataset();
  dataset.val.clear();
  const Dataset drawn = draw_few_shot(dataset, {8, 1});
  for (const Sample& sample : drawn.val) EXPECT_EQ(std::count(drawn.train.begin(), drawn.train.end(), sample), 0);
  EXPECT_EQ(counts(drawn.val)[1], 4U);
  EXPECT_THROW(draw_few_shot(dataset, {0, 1}), UsageError);
  dataset.train.clear();
  EXPECT_THROW(draw_few_shot(dataset, {1, 1}), UsageError);
}

TEST(FewShot, PerDomainDrawsInEachDomain) {
  Dataset dataset = golden_dataset();
  dataset.domains = {"p", "q"};
  for (std::size_t i = 0; i < dataset.train.size(); ++i) dataset.train[i].domain = static_cast<std::int64_t>(i % 2);
  const Dataset drawn = draw_few_shot(dataset, {2, 1, DrawRule::kKeyed, true});
  EXPECT_EQ(counts(drawn.train)[2], 4U);
  EXPECT_THROW(draw_few_shot(dataset, {2, 1, DrawRule::kCoop, true}), UsageError);
}

TEST(Divide, KeepsSharesPerClassAndLosesNothing) {
  const Dataset dataset = undivided({10, 25, 2, 1});
  const Dataset half = divide(dataset, Division::kHalfTrain, 3);
  EXPECT_EQ(counts(half.train), (std::map<std::int64_t, std::size_t>{{0, 5}, {1, 12}, {2, 1}, {3, 1}}));
  EXPECT_EQ(counts(half.val), (std::map<std::int64_t, std::size_t>{{0, 2}, {1, 5}, {2, 1}}));
  EXPECT_EQ(half.train.size() + half.val.size() + half.test.size(), dataset.all.size());
  EXPECT_THAT(half.notes, SizeIs(2));
  const Dataset seventy = divide(dataset, Division::kSeventyThirty, 3);
  EXPECT_EQ(counts(seventy.train)[0], 7U);
  EXPECT_EQ(seventy.val, seventy.test);
  Dataset with_train = undivided({10});
  with_train.train = std::move(with_train.all);
  with_train.all.clear();
  EXPECT_THAT(divide(with_train, Division::kCarveVal, 3).val, SizeIs(2));
  EXPECT_THROW(divide(with_train, Division::kHalfTrain, 3), UsageError);
  EXPECT_THROW(divide(dataset, Division::kCarveVal, 3), UsageError);
  EXPECT_NE(divide(dataset, Division::kHalfTrain, 4).train, half.train);
}

TEST(TakeHalf, HalvesSortedLabelsAndRelabels) {
  const Dataset dataset = undivided({1, 1, 1, 1, 1});
  const Dataset base = take_half(dataset, ClassHalf::kBase);
  EXPECT_THAT(base.classes, ElementsAre("class a", "class b", "class c"));
  EXPECT_THAT(base.all, SizeIs(3));
  const Dataset fresh = take_half(dataset, ClassHalf::kNew);
  EXPECT_THAT(fresh.classes, ElementsAre("class d", "class e"));
  EXPECT_EQ(fresh.all.at(0).label, 0);
  EXPECT_EQ(fresh.all.at(0).path, "3/100.jpg");
  EXPECT_THROW(take_half(undivided({1}), ClassHalf::kBase), UsageError);
}

TEST(SavedSplit, ComesBackWholeAndNoticesChanges) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "split.json";
  Dataset dataset = divide(undivided({4, 4}), Division::kHalfTrain, 1);
  dataset.train.at(0).concept_name = "crab";
  dataset.train.at(0).held_out = true;
  dataset.train.at(1).path = "/pictures/0/absolute.jpg";
  save_split(file, dataset, {"50/20/30", 1, 0});
  SplitRecord record;
  const Dataset loaded = load_split(file, "/elsewhere", &record);
  dataset.train.at(1).path = "0/absolute.jpg";
  EXPECT_EQ(loaded.train, dataset.train);
  EXPECT_EQ(loaded.test, dataset.test);
  EXPECT_EQ(loaded.classes, dataset.classes);
  EXPECT_EQ(record.rule, "50/20/30");
  EXPECT_EQ(split_hash(loaded), split_hash(dataset));
  Json json = read_json(file);
  json["train"][0]["label"] = 1;
  write_json(file, json);
  EXPECT_THAT(error_of([&] { load_split(file, "/elsewhere"); }), HasSubstr("SHA-256"));
  json["train"][0]["label"] = 2;
  write_json(file, json);
  EXPECT_THAT(error_of([&] { load_split(file, "/elsewhere"); }), HasSubstr("label below 2"));
  json["train"][0]["path"] = "../x.jpg";
  write_json(file, json);
  EXPECT_THAT(error_of([&] { load_split(file, "/elsewhere"); }), HasSubstr("inside"));
}

}  // namespace
}  // namespace attune

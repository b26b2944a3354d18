#include "attune/evaluation/detection_run.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/evaluation/detection_report.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kDetector;
using testing_support::kTasks;

DetectionSearch boxes_search(const std::filesystem::path& folder, const std::vector<std::string>& settings) {
  DetectionSearch search;
  search.folder = folder;
  search.model = kDetector;
  search.config = Config(detection_schema());
  for (const char* one : {"epochs=2", "batch_size=1"}) search.config.set(one, "test");
  for (const std::string& one : settings) search.config.set(one, "test");
  search.data = open_boxes(kTasks + "/boxes/boxes.json");
  search.training = search.data.all;
  return search;
}

TEST(DetectionRun, BeginsWhereTheConfigurationSays) {
  const TemporaryFolder folder;
  const auto start = [&](const std::string& name, const std::vector<std::string>& settings) {
    std::vector<std::string> all = settings;
    all.push_back("optim.lr=0");
    return search_concepts(boxes_search(folder.path() / name, all)).learned.queries;
  };
  const auto named = [](const std::vector<std::string>& names) {
    return concepts_by_name(kDetector, {}, names, "a photo of a {}").queries;
  };
  EXPECT_TRUE(start("text", {}).equal(named({"cat", "large bird"})));
  EXPECT_TRUE(start("concept", {"cones.start=concept", "cones.concept=owl"}).equal(named({"owl"}).repeat({2, 1})));
  const Tensor random = start("random", {"cones.start=random"});
  EXPECT_TRUE(random.equal(start("again", {"cones.start=random"})));
  EXPECT_LT((random.norm(2, {1}) - 1).abs().max().item<double>(), 1e-6);
}

TEST(DetectionRun, KeepsNoTextTower) {
  const TemporaryFolder folder;
  const FoundConcepts found = search_concepts(boxes_search(folder.path(), {}));
  EXPECT_FALSE(found.detector->has_text());
  EXPECT_GT(found.memory_mb, 0);
}

TEST(DetectionRun, AdapterComesBackForItsDetectorAndTaskOnly) {
  const TemporaryFolder folder;
  const FoundConcepts found = search_concepts(boxes_search(folder.path(), {}));
  const std::filesystem::path adapter = folder.path() / "adapter";
  const std::filesystem::path model = kDetector;
  const Concepts loaded = load_concepts(adapter, model, {}).concepts;
  EXPECT_EQ(loaded.names, (std::vector<std::string>{"cat", "large bird"}));
  EXPECT_TRUE(loaded.queries.equal(found.learned.queries));

  const Json good = read_json(adapter / "adapter_config.json");
  Json other = good;
  other["base_model_sha256"] = std::string(64, 'f');
  write_json(adapter / "adapter_config.json", other);
  EXPECT_THAT([&] { load_concepts(adapter, model, {}); },
              ThrowsMessage<Error>(AllOf(HasSubstr(std::string(64, 'f')), HasSubstr(found.detector->weight_hash()))));
  other = good;
  other["config"].erase("task");
  write_json(adapter / "adapter_config.json", other);
  EXPECT_THAT([&] { load_concepts(adapter, model, {}); }, ThrowsMessage<Error>(HasSubstr("detection")));
  other = good;
  other["classes"].push_back("third");
  write_json(adapter / "adapter_config.json", other);
  EXPECT_THAT([&] { load_concepts(adapter, model, {}); }, ThrowsMessage<Error>(HasSubstr("embeddings")));
}

TEST(DetectionRun, RefusesToResumeWithOtherPictures) {
  const TemporaryFolder folder;
  search_concepts(boxes_search(folder.path(), {}));
  DetectionSearch other = boxes_search(folder.path(), {});
  other.resume = true;
  EXPECT_NO_THROW(search_concepts(other));
  other.training.pop_back();
  EXPECT_THAT([&] { search_concepts(other); }, ThrowsMessage<UsageError>(HasSubstr("--resume")));
}

TEST(DetectionRun, EveryRecipeIsOne) {
  int found = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(ATTUNE_SOURCE_DIR) + "/recipes/cones_detection")) {
    Config config(detection_schema());
    config.merge_yaml_file(entry.path());
    OptimSettings{config};
    MatchSettings{config};
    FindSettings{config};
    ++found;
  }
  EXPECT_GE(found, 1);
}

TEST(DrawnBoxes, StandWhereTheBoxesAre) {
  const Image grey{60, 40, std::vector<std::uint8_t>(60 * 40 * 3, 128)};
  const Image drawn = with_boxes(grey, {{{10, 8, 30, 20}, "", "#ff0000"}});
  const auto pixel = [&](int x, int y) {
    const auto at = static_cast<std::size_t>(3 * (y * 60 + x));
    return std::array<int, 3>{drawn.rgb[at], drawn.rgb[at + 1], drawn.rgb[at + 2]};
  };
  EXPECT_GT(pixel(25, 8)[0], 180);
  EXPECT_LT(pixel(25, 8)[1], 80);
  EXPECT_GT(pixel(10, 20)[0], 180);
  EXPECT_EQ(pixel(25, 18), (std::array<int, 3>{128, 128, 128}));
  EXPECT_EQ(pixel(50, 35), (std::array<int, 3>{128, 128, 128}));
  // A name is text, whatever it holds.
  EXPECT_NO_THROW(with_detections(grey, {{1, 0, {0, 0, 5, 5}, 0.5}}, {"<&\"'>"}, 0.1));
  EXPECT_TRUE(with_detections(grey, {{1, 0, {0, 0, 5, 5}, 0.05}}, {"cat"}, 0.1) == grey);
}

}  // namespace
}  // namespace attune

#include "attune/evaluation/segmentation_run.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kSegmenter;
using testing_support::kTasks;

DetectionSearch masks_search(const std::filesystem::path& folder, const std::vector<std::string>& settings) {
  DetectionSearch search;
  search.folder = folder;
  search.model = kSegmenter;
  search.config = Config(segmentation_schema());
  for (const char* one : {"epochs=1", "batch_size=4"}) search.config.set(one, "test");
  for (const std::string& one : settings) search.config.set(one, "test");
  search.data = open_boxes(kTasks + "/boxes/boxes.json");
  for (BoxPicture& picture : search.data.all) {
    for (BoxLabel& label : picture.labels) label.mask = mask_of_box(picture.width, picture.height, label.box);
  }
  search.training = search.data.all;
  return search;
}

TEST(SegmentationRun, AdapterComesBackForItsSegmenterAndTaskOnly) {
  const TemporaryFolder folder;
  const FoundConditions found = search_conditions(masks_search(folder.path(), {}));
  EXPECT_FALSE(found.tuned.has_value());
  const std::filesystem::path adapter = folder.path() / "adapter";
  const LoadedConditions loaded = load_conditions(adapter, kSegmenter, {});
  EXPECT_FALSE(loaded.segmenter->has_text());
  EXPECT_EQ(loaded.concepts.names, (std::vector<std::string>{"cat", "large bird"}));
  EXPECT_TRUE(loaded.concepts.queries.equal(found.learned.queries));

  const Json good = read_json(adapter / "adapter_config.json");
  Json other = good;
  other["base_model_sha256"] = std::string(64, 'f');
  write_json(adapter / "adapter_config.json", other);
  EXPECT_THAT([&] { load_conditions(adapter, kSegmenter, {}); }, ThrowsMessage<Error>(HasSubstr(std::string(64, 'f'))));
  other = good;
  other["config"]["task"] = "detection";
  write_json(adapter / "adapter_config.json", other);
  EXPECT_THAT([&] { load_conditions(adapter, kSegmenter, {}); }, ThrowsMessage<Error>(HasSubstr("segmentation")));
  other = good;
  other["classes"].push_back("third");
  write_json(adapter / "adapter_config.json", other);
  EXPECT_THAT([&] { load_conditions(adapter, kSegmenter, {}); }, ThrowsMessage<Error>(HasSubstr("embeddings")));
}

TEST(SegmentationRun, RefusesChangesThatDoNotFit) {
  const TemporaryFolder folder;
  search_conditions(masks_search(folder.path(), {"second.epochs=1", "second.tune=lora"}));
  const std::filesystem::path adapter = folder.path() / "adapter";
  const TensorMap good = load_tensors(adapter / "adapter_model.safetensors");
  const auto save = [&](const std::string& name, const Tensor& tensor) {
    TensorMap tensors;
    for (const auto& [own, value] : good) tensors[own] = value.clone();
    tensors[name] = tensor;
    save_tensors(adapter / "adapter_model.safetensors", tensors);
  };
  const auto load = [&] { load_conditions(adapter, kSegmenter, {}); };
  EXPECT_NO_THROW(load());
  save("lora.0.q.up", at::zeros({20, 5}));
  EXPECT_THAT(load, ThrowsMessage<Error>(HasSubstr("0.q.up")));
  save("segmenter.decoder.film_add.bias", at::zeros({3}));
  EXPECT_THAT(load, ThrowsMessage<Error>(HasSubstr("decoder.film_add.bias")));
  save("embeddings", at::zeros({2, 3, 24}));
  EXPECT_THAT(load, ThrowsMessage<Error>(HasSubstr("embeddings")));
}

TEST(SegmentationRun, EveryRecipeIsOne) {
  int found = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(ATTUNE_SOURCE_DIR) + "/recipes/cones_segmentation")) {
    Config config(segmentation_schema());
    config.merge_yaml_file(entry.path());
    OptimSettings{config};
    SegmentSettings{config};
    EXPECT_TRUE(TuningSettings::read(config).has_value());
    ++found;
  }
  EXPECT_GE(found, 1);
}

}  // namespace
}  // namespace attune

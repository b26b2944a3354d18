#include "attune/training/detector_pretraining.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/tasks/detection.h"
#include "attune/tasks/owl_vit.h"
#include "attune/tensors/device.h"
#include "attune/training/detector_model.h"
#include "tests/support/error_of.h"
#include "tests/training/fails_at.h"

namespace attune {
namespace {

using testing::HasSubstr;

const std::string kPocket = std::string(ATTUNE_SOURCE_DIR) + "/models/pocket";

constexpr const char* kIcons = R"({"prefix": "a", "width": 10, "height": 10, "icons": {
  "disc": {"body": "<circle cx='5' cy='5' r='4' fill='#ff0000'/>"},
  "bar": {"body": "<path fill='#0000ff' d='M0 4h10v2H0z'/>"},
  "square": {"body": "<path fill='#00aa00' d='M1 1h8v8H1z'/>"}}})";
constexpr const char* kList = R"({"version": 1, "domains": {"a": ["a"]}, "concepts": [
  {"code": "1", "name": "red disc", "held_out": false}, {"code": "2", "name": "blue bar", "held_out": false},
  {"code": "3", "name": "green square", "held_out": false}], "icons": {"a": {"1": "disc", "2": "bar", "3": "square"}}})";

class DetectorPretrainingTest : public testing::Test {
 protected:
  DetectorPretrainingTest() {
    set_threads(1);
    write_file(folder_.path() / "icons/a/icons.json", kIcons);
    write_file(folder_.path() / "list.json", kList);
  }
  DetectorPretraining tiny(const std::string& run, const std::vector<std::string>& more = {}) const {
    Config recipe(detector_pretraining_schema());
    recipe.set("base", Json(kPocket), "test");
    recipe.set("drawings", Json((folder_.path() / "list.json").string()), "test");
    for (const char* one : {"size=64", "scenes.most=3", "scenes.smallest=0.3", "scenes.least=1", "scenes.samples=24",
                            "batch=4", "warmup=2", "decay=8", "categories=2"}) {
      recipe.set(one, "test");
    }
    for (const std::string& one : more) recipe.set(one, "test");
    return {recipe, folder_.path() / "icons", folder_.path() / run, false};
  }

  TemporaryFolder folder_;
};

TEST_F(DetectorPretrainingTest, GoesOnWithTheSameBitsAfterAFailure) {
  ASSERT_TRUE(pretrain_detector(tiny("whole"), nullptr));
  DetectorPretraining stopped = tiny("run", {"checkpoint.minutes=0"});
  FailsAt fails(12, 24);
  EXPECT_THROW(pretrain_detector(stopped, &fails), std::runtime_error);
  stopped.resume = true;
  ASSERT_TRUE(pretrain_detector(stopped, nullptr));
  EXPECT_EQ(read_file(folder_.path() / "whole/model/model.safetensors"),
            read_file(folder_.path() / "run/model/model.safetensors"));
}

/// The schedule is level until its last scenes, so that a run may still be made shorter or longer.
TEST_F(DetectorPretrainingTest, ALengthChosenLaterGivesTheSameBits) {
  ASSERT_TRUE(pretrain_detector(tiny("whole"), nullptr));
  DetectorPretraining longer = tiny("run", {"scenes.samples=4000", "checkpoint.minutes=0"});
  struct Stops : Progress {
    void update(std::int64_t done, std::int64_t, std::string_view) override {
      if (done == 12) throw std::runtime_error("enough");
    }
  } stops;
  // Rendering counts to 3.
  EXPECT_THROW(pretrain_detector(longer, &stops), std::runtime_error);
  longer.recipe.set("scenes.samples=24", "test");
  longer.resume = true;
  ASSERT_TRUE(pretrain_detector(longer, nullptr));
  EXPECT_EQ(read_file(folder_.path() / "whole/model/model.safetensors"),
            read_file(folder_.path() / "run/model/model.safetensors"));
}

TEST_F(DetectorPretrainingTest, LearnsAndWritesADetectorSlow) {
  ASSERT_TRUE(pretrain_detector(tiny("run", {"scenes.samples=600", "learning_rate=0.001", "decay=200", "categories=3"}),
                                nullptr));
  const auto folder = folder_.path() / "run/model";
  const OwlVit detector = OwlVit::load(folder);
  EXPECT_EQ(detector.cells(), 16);
  std::vector<double> losses;
  for (const std::string& line : read_lines(folder_.path() / "run/metrics.jsonl")) {
    losses.push_back(parse_json(line, "metrics")["loss"].get<double>());
  }
  ASSERT_GT(losses.size(), 3u);
  EXPECT_LT(losses.back(), 0.6 * losses.front());
  EXPECT_EQ(read_json(folder / "metrics.json")["samples"], 600);
  EXPECT_EQ(read_file(folder / "drawings.json"), kList);
}

TEST_F(DetectorPretrainingTest, BeginsWithTheTowersOfItsBase) {
  ASSERT_TRUE(pretrain_detector(tiny("none", {"scenes.samples=0"}), nullptr));
  const OwlVit detector = OwlVit::load(folder_.path() / "none/model");
  LoadOptions text_only;
  text_only.image = false;
  const Tensor expected = encode_sentences(load_model(kPocket, text_only), {"a photo of a cat"});
  EXPECT_TRUE(detector.queries({"a photo of a cat"}).allclose(expected, 1e-5, 1e-6));
  // Boxes begin as their cells, and every answer as unlikely.
  const Sight sight = detector.look(at::zeros({1, 3, 64, 64}));
  EXPECT_NEAR(sight.boxes[0][5][2].item<double>(), 0.25, 1e-3);
  EXPECT_LT(at::sigmoid(OwlVit::logits(sight, expected)).max().item<double>(), 0.5);
}

TEST_F(DetectorPretrainingTest, RefusesWhatDoesNotFit) {
  const auto message = [&](const DetectorPretraining& settings) {
    return error_of([&] { pretrain_detector(settings, nullptr); });
  };
  EXPECT_THAT(message(tiny("a", {"size=60"})), HasSubstr("multiple of the patch 16"));
  EXPECT_THAT(message(tiny("b", {"sentences=a photo"})), HasSubstr("{}"));
  ASSERT_TRUE(pretrain_detector(tiny("run"), nullptr));
  EXPECT_THAT(message(tiny("run")), HasSubstr("holds a run already"));
  DetectorPretraining other = tiny("run");
  other.resume = true;
  write_file(folder_.path() / "list.json", std::string(kList) + "\n");
  EXPECT_THAT(message(other), HasSubstr("its own drawings"));
  EXPECT_THAT(describe_detector_needs(tiny("c").recipe), HasSubstr("6 steps"));
}

}  // namespace
}  // namespace attune

#include "attune/training/segmenter_pretraining.h"

#include <gmock/gmock.h>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/images/decode.h"
#include "attune/tasks/clipseg.h"
#include "attune/tensors/device.h"
#include "attune/training/segmenter_model.h"
#include "attune/training/segmenter_views.h"
#include "tests/support/error_of.h"
#include "tests/support/small_model.h"
#include "tests/training/fails_at.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class SegmenterPretrainingTest : public testing::Test {
 protected:
  SegmenterPretrainingTest() {
    set_threads(1);  // bits are promised for a number of threads
    write_file(root() / "a/icons.json", R"({"prefix": "a", "width": 10, "height": 10, "icons": {
      "disc": {"body": "<circle cx='5' cy='5' r='4' fill='#ff0000'/>"},
      "bar": {"body": "<path fill='#0000ff' d='M0 3h10v4H0z'/>"}}})");
    write_file(root() / "lists.json", R"({"version": 1, "domains": {"one": ["a"]},
      "concepts": [{"code": "1", "name": "disc", "held_out": false}, {"code": "2", "name": "bar", "held_out": false}],
      "icons": {"a": {"1": "disc", "2": "bar"}}})");
  }
  fs::path root() const { return folder_.path(); }

  SegmenterPretraining tiny(const std::string& run, const std::vector<std::string>& more = {}) const {
    Config recipe(segmenter_pretraining_schema());
    std::vector<std::string> values = {"base=" + kSmallModel,
                                       "drawings=" + (root() / "lists.json").string(),
                                       "size=32",
                                       "extract='0,1'",
                                       "decoder.width=16",
                                       "decoder.hidden=16",
                                       "decoder.heads=2",
                                       "decoder.complex=false",
                                       "scenes.size=64",
                                       "scenes.least=1",
                                       "scenes.most=3",
                                       "scenes.smallest=0.3",
                                       "views.samples=120",
                                       "views.scene=2",
                                       "views.others=0.2",
                                       "batch=6",
                                       "warmup=2"};
    values.insert(values.end(), more.begin(), more.end());
    for (const std::string& value : values) recipe.set(value, "test");
    return {recipe, root(), root() / run, false};
  }
  std::vector<double> losses(const std::string& run) const {
    std::vector<double> result;
    for (const std::string& line : read_lines(root() / run / "metrics.jsonl")) {
      result.push_back(parse_json(line, "metrics")["loss"].get<double>());
    }
    return result;
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(SegmenterPretrainingTest, LearnsAndWritesAFolderThatLoads) {
  const SegmenterPretraining run = tiny("run", {"views.samples=720", "learning_rate=2e-3"});
  EXPECT_TRUE(pretrain_segmenter(run, nullptr));
  const std::vector<double> lost = losses("run");
  ASSERT_EQ(lost.size(), 6u);  // every 20 of 120 steps
  EXPECT_LT(lost.back(), 0.8 * lost.front());
  const ClipSeg model = ClipSeg::load(root() / "run/model");
  EXPECT_EQ(model.preprocess().size, 32);
  EXPECT_EQ(model.width(), small_model()->config.joint_width);
  // Conditions are the base's text features, up to the half precision of the file.
  const Tensor own = model.conditions({"disc"}), base = sentence_features(*small_model(), {"disc"});
  EXPECT_LT((own - base).abs().max().item<double>(), 0.01 * base.abs().max().item<double>());
  const auto seen = model.look(at::zeros({2, 3, 32, 32}));
  EXPECT_EQ(model.logits(seen, own.repeat({2, 1})).sizes(), (std::vector<std::int64_t>{2, 32, 32}));
  EXPECT_EQ(read_image(root() / "run/masks.png").width, 6 * 32);
  EXPECT_EQ(read_json(root() / "run/model/metrics.json")["samples"], 720);
}

TEST_F(SegmenterPretrainingTest, AKilledRunResumedEndsWithTheSameBits) {
  EXPECT_TRUE(pretrain_segmenter(tiny("whole"), nullptr));
  SegmenterPretraining parts = tiny("parts", {"checkpoint.minutes=0"});
  FailsAt failure(66, 120);
  EXPECT_THROW(pretrain_segmenter(parts, &failure), std::runtime_error);
  parts.resume = true;
  EXPECT_TRUE(pretrain_segmenter(parts, nullptr));
  EXPECT_EQ(read_file(root() / "whole/model/model.safetensors"), read_file(root() / "parts/model/model.safetensors"));
  EXPECT_EQ(losses("whole"), losses("parts"));
}

TEST_F(SegmenterPretrainingTest, BeginsWithAnotherSegmenterAtAnotherSize) {
  EXPECT_TRUE(pretrain_segmenter(tiny("small", {"views.samples=6"}), nullptr));
  const fs::path small = root() / "small/model";
  // No step: what it began with comes out again, at twice the size.
  EXPECT_TRUE(pretrain_segmenter(tiny("large", {"base=" + small.string(), "size=64", "views.samples=0"}), nullptr));
  const TensorMap before = load_tensors(small / "model.safetensors");
  for (const auto& [name, tensor] : load_tensors(root() / "large/model/model.safetensors")) {
    EXPECT_TRUE(at::equal(tensor, before.at(name))) << name;
  }
  const ClipSeg model = ClipSeg::load(root() / "large/model");
  EXPECT_EQ(model.preprocess().size, 64);
  EXPECT_TRUE(at::equal(model.conditions({"bar"}), ClipSeg::load(small).conditions({"bar"})));
  EXPECT_THAT(error_of([&] {
                pretrain_segmenter(tiny("other", {"base=" + small.string(), "decoder.hidden=8"}), nullptr);
              }),
              HasSubstr("decoder.layers.0"));
}

TEST_F(SegmenterPretrainingTest, SaysWhatDoesNotFit) {
  const auto message = [&](const std::string& run, const std::vector<std::string>& more) {
    return error_of([&] { pretrain_segmenter(tiny(run, more), nullptr); });
  };
  EXPECT_THAT(message("a", {"batch=5"}), HasSubstr("multiple of views.scene"));
  EXPECT_THAT(message("a", {"size=30"}), HasSubstr("patches of 8"));
  EXPECT_THAT(message("a", {"decoder.complex=true"}), HasSubstr("complex head"));
  EXPECT_THAT(message("a", {"extract='1,0'"}), HasSubstr("rising blocks"));
  EXPECT_THAT(message("a", {"extract='1,x'"}), HasSubstr("\"x\""));
  EXPECT_THAT(message("a", {"sentences=thing"}), HasSubstr("{}"));
  EXPECT_THAT(message("a", {"views.others=0.95"}), HasSubstr("shares"));
  EXPECT_TRUE(pretrain_segmenter(tiny("b"), nullptr));
  EXPECT_THAT(message("b", {}), HasSubstr("already"));
  SegmenterPretraining other = tiny("b");
  other.resume = true;
  write_file(root() / "lists.json", read_file(root() / "lists.json") + "\n");
  EXPECT_THAT(error_of([&] { pretrain_segmenter(other, nullptr); }), HasSubstr("its own drawings"));
  EXPECT_THAT(describe_segmenter_needs(other.recipe), HasSubstr("20 steps"));
}

TEST_F(SegmenterPretrainingTest, ViewsShowObjectsPartsOfScenesOrNothingOfTheName) {
  Drawings drawings = render_drawings(root() / "lists.json", root(), {}, 64);
  CompositeSettings scenes;
  scenes.size = 64;
  scenes.least = scenes.most = 1;
  std::vector<Composite> batch;
  for (std::uint64_t i = 0; i < 40; ++i) batch.push_back(compose(drawings, scenes, 3, i));
  Preprocess preprocess;
  preprocess.size = 16;
  const auto shares = [&](const std::vector<std::string>& values) {
    Config config(ViewSettings::schema());
    for (const std::string& value : values) config.set(value, "test");
    return segmenter_views(batch, 2, ViewSettings(config), preprocess, 7, 0);
  };
  const SegmenterViews objects = shares({"views.parts=0", "views.others=0", "views.scene=1"});
  ASSERT_EQ(objects.pixels.size(0), 40);
  for (std::int64_t i = 0; i < 40; ++i) {
    EXPECT_EQ(objects.categories[static_cast<std::size_t>(i)], batch[static_cast<std::size_t>(i)].objects[0].category);
    // A disc or bar fills a good part of its box, which fills a good part of the view.
    EXPECT_GT(objects.targets[i].mean().item<double>(), 0.25);
  }
  const SegmenterViews others = shares({"views.parts=0", "views.others=1", "views.scene=1"});
  for (std::int64_t i = 0; i < 40; ++i) {
    EXPECT_NE(others.categories[static_cast<std::size_t>(i)], batch[static_cast<std::size_t>(i)].objects[0].category);
  }
  EXPECT_EQ(others.targets.sum().item<double>(), 0);
  EXPECT_TRUE(at::equal(objects.pixels, others.pixels));
  const SegmenterViews parts = shares({"views.parts=1", "views.others=0", "views.scene=2"});
  EXPECT_EQ(parts.pixels.size(0), 80);
  EXPECT_LT(parts.targets.mean().item<double>(), 0.7 * objects.targets.mean().item<double>());
}

}  // namespace
}  // namespace attune

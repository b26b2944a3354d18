#include <unistd.h>

#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/tensors/device.h"
#include "attune/training/clip_pretraining.h"
#include "attune/training/pretrain_augment.h"
#include "attune/training/pretrain_data.h"
#include "attune/training/pretrain_recipe.h"
#include "tests/support/tiny_pack.h"
#include "tests/training/fails_at.h"

namespace attune {
namespace {

class Pretraining : public testing::Test {
 protected:
  Pretraining() {
    set_threads(1);  // bits are promised for a number of threads; and one test forks
    write_tiny_pack(pack_.path());
  }

  ClipPretraining tiny(const std::string& run, bool resume = false) const {
    Config recipe(clip_pretraining_schema());
    for (const std::string& value : tiny_pack_recipe(pack_.path())) recipe.set(value, "test");
    return {recipe, pack_.path(), runs_.path() / run, resume};
  }

  TemporaryFolder pack_, runs_;
};

/// The lines of a log without what depends on the clock.
std::vector<std::string> timeless(const std::filesystem::path& log) {
  std::vector<std::string> lines;
  for (const std::string& line : read_lines(log)) {
    Json entry = Json::parse(line);
    entry.erase("seconds");
    entry.erase("samples_per_second");
    lines.push_back(entry.dump());
  }
  return lines;
}

TEST_F(Pretraining, GoesOnWithTheSameBitsAfterAFailureInAnyStage) {
  ASSERT_TRUE(pretrain_clip(tiny("whole"), nullptr));
  for (const std::int64_t failure : {24, 72, 112}) {
    const std::string run = "stopped" + std::to_string(failure);
    ClipPretraining stopped = tiny(run);
    stopped.recipe.set("checkpoint.minutes", Json(0.0), "test");
    FailsAt fails(failure);
    EXPECT_THROW(pretrain_clip(stopped, &fails), std::runtime_error);
    ASSERT_TRUE(pretrain_clip(tiny(run, true), nullptr));
    for (const char* file : {"checkpoint.safetensors", "model/model.safetensors"}) {
      const TensorMap expected = load_tensors(runs_.path() / "whole" / file),
                      found = load_tensors(runs_.path() / run / file);
      ASSERT_EQ(expected.size(), found.size());
      for (const auto& [name, tensor] : expected) EXPECT_TRUE(tensor.equal(found.at(name))) << failure << " " << name;
    }
    EXPECT_EQ(timeless(runs_.path() / "whole" / "metrics.jsonl"), timeless(runs_.path() / run / "metrics.jsonl"));
  }
}

TEST_F(Pretraining, StopsPolitelyWithACheckpoint) {
  const ClipPretraining settings = tiny("polite");
  EXPECT_EXIT(
      {
        request_stop();
        _exit(pretrain_clip(settings, nullptr) ? 0 : 7);
      },
      testing::ExitedWithCode(7), "");
  EXPECT_TRUE(std::filesystem::exists(settings.out / "checkpoint.safetensors"));
}

TEST_F(Pretraining, WritesAModelThatLoadsAndItsMetrics) {
  ASSERT_TRUE(pretrain_clip(tiny("run"), nullptr));
  const std::filesystem::path folder = runs_.path() / "run" / "model";
  const ClipModel model = load_model(folder.string());
  EXPECT_EQ(model.config.vision.image_size, kSide);
  EXPECT_EQ(model.config.joint_width, kJoint);
  EXPECT_EQ(encode_sentences(model, {"thing 1"}).sizes(), at::IntArrayRef({1, kJoint}));
  const Json metrics = read_json(folder / "metrics.json");
  EXPECT_EQ(metrics["samples"], 128);
  const Json& seen = metrics["evaluation"]["two"]["concepts"]["seen"];
  EXPECT_EQ(seen["count"], 4);  // of concepts 1, 3 and 5, twice each, 0 and 3 are held out
  EXPECT_GE(seen["top5"].get<double>(), seen["top1"].get<double>());
}

TEST_F(Pretraining, AFinishedRunGoesOnWhenItsLastStageIsMadeLonger) {
  ASSERT_TRUE(pretrain_clip(tiny("run"), nullptr));
  ClipPretraining longer = tiny("run", true);
  longer.recipe.set("joint.samples", Json(80), "test");
  ASSERT_TRUE(pretrain_clip(longer, nullptr));
  EXPECT_EQ(read_json(runs_.path() / "run" / "model" / "metrics.json")["samples"], 176);
}

TEST_F(Pretraining, RefusesAnotherRecipeAndAUsedFolder) {
  ASSERT_TRUE(pretrain_clip(tiny("run"), nullptr));
  EXPECT_THROW(pretrain_clip(tiny("run"), nullptr), UsageError);
  ClipPretraining other = tiny("run", true);
  other.recipe.set("seed=1", "test");
  EXPECT_THROW(pretrain_clip(other, nullptr), UsageError);
}

TEST_F(Pretraining, NamesWhatIsWrongWithAPack) {
  write_file(pack_.path() / "texts.txt", "only one\n");
  EXPECT_THROW(pretrain_clip(tiny("run"), nullptr), Error);
}

TEST_F(Pretraining, DrawsByStepAloneAndInTheSharesAskedFor) {
  const PretrainData data(pack_.path());
  const auto batch = data.draw(12, 0.75, 5, 3), again = data.draw(12, 0.75, 5, 3), next = data.draw(12, 0.75, 5, 4);
  EXPECT_TRUE(batch.rgba.equal(again.rgba) && batch.text.equal(again.text) && batch.key.equal(again.key));
  EXPECT_FALSE(batch.text.equal(next.text) && batch.rgba.equal(next.rgba));
  // Captions are rows d and d + 1 of drawing d, keys are d / 2: every caption must fit its drawing's key.
  const Tensor distance = batch.text - batch.key * 2;
  EXPECT_TRUE(distance.ge(0).logical_and(distance.le(2)).all().item<bool>());
  // All emoji are even drawings and stand first.
  EXPECT_EQ(data.draw(12, 1.0, 5, 3).rgba.size(0), 12);
  const Tensor all = random_drawings(kDrawings, 1);
  for (std::int64_t i = 0; i < 12; ++i) {
    const Tensor same = all.eq(batch.rgba[i]).flatten(1).all(1).nonzero();
    EXPECT_EQ(same[0].item<std::int64_t>() % 2, i < 9 ? 0 : 1);
  }
}

TEST_F(Pretraining, TargetsAreProjectedAndOfUnitLength) {
  const PretrainData data(pack_.path());
  EXPECT_EQ(data.training_texts(), kTexts - 6);
  EXPECT_EQ(data.targets().sizes(), at::IntArrayRef({kTexts, kJoint}));
  EXPECT_TRUE(at::allclose(at::linalg_vector_norm(data.targets(), 2, at::IntArrayRef{1}), at::ones({kTexts})));
  const Tensor embedding = load_tensors(pack_.path() / "teacher.safetensors").at("embedding").to(at::kFloat);
  EXPECT_TRUE(at::allclose(at::cosine_similarity(data.targets(), embedding.narrow(1, 0, kJoint)), at::ones({kTexts})));
}

TEST(VaryDrawings, DependsOnSeedAndStepAlone) {
  const Tensor drawings = random_drawings(8, 1), mono = at::zeros({8}, at::kBool);
  const Tensor first = vary_drawings(drawings, mono, 1, 2);
  EXPECT_TRUE(first.equal(vary_drawings(drawings, mono, 1, 2)));
  EXPECT_FALSE(first.equal(vary_drawings(drawings, mono, 1, 3)));
  EXPECT_FALSE(first.equal(vary_drawings(drawings, mono, 2, 2)));
  EXPECT_EQ(first.sizes(), at::IntArrayRef({8, 3, kSide, kSide}));
  EXPECT_GE(first.min().item<double>(), 0.0);
  EXPECT_LE(first.max().item<double>(), 1.0);
}

TEST(VaryDrawings, ColoursOfTransparentAndMonochromeDrawingsDoNotMatter) {
  // An empty drawing is its ground alone, one colour a picture; a monochrome one is seen through its alpha only.
  const Tensor empty = vary_drawings(at::zeros({32, kSide, kSide, 4}, at::kByte), at::zeros({32}, at::kBool), 1, 0);
  EXPECT_LT((empty.flatten(2).amax(2) - empty.flatten(2).amin(2)).max().item<double>(), 1e-6);
  EXPECT_GT(empty.flatten(2).mean(2).std().item<double>(), 0.01);
  const Tensor drawings = random_drawings(8, 1);
  Tensor black = drawings.clone();
  black.narrow(3, 0, 3).zero_();
  const Tensor mono = at::ones({8}, at::kBool);
  EXPECT_TRUE(at::allclose(vary_drawings(drawings, mono, 1, 0), vary_drawings(black, mono, 1, 0)));
}

TEST(VaryDrawings, OpaqueDrawingsMostlyStayInTheMiddle) {
  // White squares on a black ground are not possible (the ground is light), black squares are: their place is the
  // middle.
  Tensor square = at::zeros({64, kSide, kSide, 4}, at::kByte);
  square.narrow(1, 6, 4).narrow(2, 6, 4).select(3, 3).fill_(255);
  const Tensor light = vary_drawings(square, at::zeros({64}, at::kBool), 1, 0).mean(1);
  const Tensor darkness = light.amax({1, 2}, true) - light;
  EXPECT_GT((darkness.narrow(1, 4, 8).narrow(2, 4, 8).sum() / darkness.sum()).item<double>(), 0.9);
}

TEST(PlainDrawings, StandOnWhite) {
  const Tensor drawings = at::tensor({0, 0, 0, 0, 128, 0, 0, 128}, at::kByte).view({1, 1, 2, 4});
  const Tensor plain = plain_drawings(drawings).flatten();
  const float half = 128.0F / 255.0F;
  EXPECT_TRUE(at::allclose(plain, at::tensor({1.0F, 1.0F, 1.0F, 1 - half, 1.0F, 1 - half})));
}

TEST(PretrainStage, WarmsUpThenFollowsACosine) {
  PretrainStage stage;
  stage.samples = 1100 * 4;
  stage.batch = 4;
  stage.learning_rate = 0.5;
  stage.warmup = 100;
  EXPECT_DOUBLE_EQ(stage.rate(0), 0.005);
  EXPECT_DOUBLE_EQ(stage.rate(49), 0.25);
  EXPECT_DOUBLE_EQ(stage.rate(100), 0.5);
  EXPECT_NEAR(stage.rate(600), 0.5 * (0.02 + 0.98 * 0.5), 1e-12);
  EXPECT_NEAR(stage.rate(1100), 0.01, 1e-12);
  stage.emoji_only = 0.5;
  stage.emoji_share = 0.6;
  EXPECT_DOUBLE_EQ(stage.share(549), 1.0);
  EXPECT_DOUBLE_EQ(stage.share(550), 0.6);
}

}  // namespace
}  // namespace attune

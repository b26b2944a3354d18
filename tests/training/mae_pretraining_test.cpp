#include "attune/training/mae_pretraining.h"

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/domains/domain_model.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/tensors/device.h"
#include "attune/training/mae_pictures.h"
#include "tests/support/error_of.h"
#include "tests/training/fails_at.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class MaePretrainingTest : public testing::Test {
 protected:
  MaePretrainingTest() {
    set_threads(1);  // bits are promised for a number of threads; and one test forks
    KeyedRandom random(5, "test.pictures");
    for (int i = 0; i < 10; ++i) {
      Image image{40 + i, 30, {}};
      image.rgb.resize(static_cast<std::size_t>(image.width * image.height * 3));
      for (auto& value : image.rgb) value = static_cast<std::uint8_t>(random.below(64) + (i % 2) * 128);
      paths_.push_back(folder_.path() / "pictures" / std::to_string(i).append(".png"));
      write_file(paths_.back(), encode_png(image));
    }
  }

  MaePretraining tiny(const std::string& run, bool resume = false) const {
    Config recipe(mae_pretraining_schema());
    for (const char* value :
         {"image_size=16", "patch=4", "views.side=24", "encoder.width=16", "encoder.layers=2", "encoder.heads=2",
          "decoder.width=8", "decoder.layers=1", "decoder.heads=2", "epochs=6", "batch=4", "warmup=3"}) {
      recipe.set(value, "test");
    }
    return {recipe, paths_, folder_.path() / run, resume};
  }

  TemporaryFolder folder_;
  std::vector<fs::path> paths_;
};

TEST_F(MaePretrainingTest, GoesOnWithTheSameBitsAfterAFailure) {
  ASSERT_TRUE(pretrain_mae(tiny("whole"), nullptr));
  MaePretraining stopped = tiny("run");
  stopped.recipe.set("checkpoint.minutes", Json(0.0), "test");
  FailsAt fails(28, 60);
  EXPECT_THROW(pretrain_mae(stopped, &fails), std::runtime_error);
  std::swap(stopped.pictures.front(), stopped.pictures.back());
  stopped.recipe = tiny("run").recipe;
  stopped.resume = true;
  ASSERT_TRUE(pretrain_mae(stopped, nullptr));
  for (const char* file : {"model/model.safetensors", "reconstructions.png"}) {
    EXPECT_EQ(read_file(folder_.path() / "whole" / file), read_file(folder_.path() / "run" / file)) << file;
  }
  const TensorMap expected = load_tensors(folder_.path() / "whole" / "checkpoint.safetensors"),
                  found = load_tensors(folder_.path() / "run" / "checkpoint.safetensors");
  ASSERT_EQ(expected.size(), found.size());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(tensor.equal(found.at(name))) << name;
}

TEST_F(MaePretrainingTest, StopsPolitelyWithACheckpoint) {
  const MaePretraining settings = tiny("polite");
  EXPECT_EXIT(
      {
        // Asked for once the pictures are read.
        struct Asks : Progress {
          void update(std::int64_t done, std::int64_t total, std::string_view) override {
            if (total == 60 && done >= 8) request_stop();
          }
        } asks;
        _exit(pretrain_mae(settings, &asks) ? 0 : 7);
      },
      testing::ExitedWithCode(7), "");
  EXPECT_TRUE(fs::exists(settings.out / "checkpoint.safetensors"));
  EXPECT_FALSE(fs::exists(settings.out / "model"));
}

TEST_F(MaePretrainingTest, WritesADomainModelItsMetricsAndAPictureOfReconstructions) {
  ASSERT_TRUE(pretrain_mae(tiny("run"), nullptr));
  const auto model = load_domain_model(folder_.path() / "run" / "model");
  EXPECT_EQ(model->width(), 16);
  EXPECT_EQ(model->preprocess().size, 16);
  EXPECT_TRUE(model->encode(at::zeros({2, 3, 16, 16})).isfinite().all().item<bool>());
  const Json metrics = read_json(folder_.path() / "run" / "model" / "metrics.json");
  EXPECT_EQ(metrics["samples"], 60);
  EXPECT_EQ(metrics["pictures"], 10);
  const Image sheet = read_image(folder_.path() / "run" / "reconstructions.png");
  EXPECT_EQ(sheet.width, 3 * 132 + 4);
  EXPECT_EQ(sheet.height, 8 * 132 + 4);
  EXPECT_THAT(describe_mae_needs(tiny("run").recipe, 10), AllOf(HasSubstr("10 pictures"), HasSubstr("15 steps")));
}

TEST_F(MaePretrainingTest, NoEpochsGiveTheRandomModel) {
  MaePretraining none = tiny("none");
  none.recipe.set("epochs=0", "test");
  ASSERT_TRUE(pretrain_mae(none, nullptr));
  const TensorMap found = load_tensors(none.out / "model" / "model.safetensors");
  const TensorMap expected = hugging_face_mae(mae_config(none.recipe), Mae(mae_config(none.recipe), 0).parameters());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(tensor.equal(found.at(name))) << name;
}

TEST_F(MaePretrainingTest, ViewsAndMasksDependOnSeedEpochAndContentAlone) {
  std::vector<fs::path> reversed(paths_.rbegin(), paths_.rend());
  const MaePictures pictures(paths_, 24, nullptr), again(reversed, 24, nullptr);
  EXPECT_EQ(pictures.hash(), again.hash());
  Preprocess preprocess;
  preprocess.size = 16;
  const auto views = [&](const MaePictures& of, std::int64_t epoch, std::uint64_t seed) {
    return of.views({{3, epoch}, {7, epoch}}, preprocess, {}, seed);
  };
  EXPECT_TRUE(views(pictures, 2, 1).equal(views(again, 2, 1)));
  EXPECT_FALSE(views(pictures, 2, 1).equal(views(pictures, 3, 1)));
  EXPECT_FALSE(views(pictures, 2, 1).equal(views(pictures, 2, 2)));
  const auto order = [&](const MaePictures& of, std::int64_t epoch, std::uint64_t seed) {
    return of.orders({{3, epoch}, {7, epoch}}, 16, seed);
  };
  EXPECT_TRUE(order(pictures, 2, 1).equal(order(again, 2, 1)));
  EXPECT_FALSE(order(pictures, 2, 1).equal(order(pictures, 3, 1)));
  EXPECT_FALSE(order(pictures, 2, 1).equal(order(pictures, 2, 2)));
  EXPECT_TRUE(std::get<0>(order(pictures, 2, 1).sort(1)).equal(at::arange(16, at::kLong).expand({2, 16})));
}

TEST_F(MaePretrainingTest, EveryPassHoldsEveryPictureOnce) {
  MaePictures pictures(paths_, 24, nullptr);
  std::map<std::int64_t, std::set<std::int64_t>> seen;
  for (std::int64_t step = 0; step < 5; ++step) {
    for (const auto& place : pictures.places(step, 4, 1)) EXPECT_TRUE(seen[place.epoch].insert(place.picture).second);
  }
  EXPECT_EQ(seen.size(), 2);
  for (const auto& [epoch, all] : seen) EXPECT_EQ(all.size(), 10) << epoch;
}

TEST_F(MaePretrainingTest, NamesWhatDoesNotFit) {
  ASSERT_TRUE(pretrain_mae(tiny("run"), nullptr));
  const auto error = [](const MaePretraining& settings) { return error_of([&] { pretrain_mae(settings, nullptr); }); };
  EXPECT_THAT(error(tiny("run")), HasSubstr("holds a run already"));
  MaePretraining fewer = tiny("run", true);
  fewer.pictures.pop_back();
  EXPECT_THAT(error(fewer), AllOf(HasSubstr("pictures.json"), HasSubstr("its own pictures")));
  MaePretraining other = tiny("run", true);
  other.recipe.set("learning_rate=0.5", "test");
  EXPECT_THAT(error(other), HasSubstr("learning_rate"));
  MaePretraining broken = tiny("other");
  write_file(broken.pictures[4], "no picture");
  EXPECT_THAT(error(broken), HasSubstr("4.png"));
  MaePretraining none = tiny("other");
  none.pictures.clear();
  EXPECT_THAT(error(none), HasSubstr("at least one picture"));
  for (const char* value : {"patch=5", "encoder.width=0", "batch=0", "views.side=3", "mask_ratio=1.0",
                            "encoder.layers=1000000000", "image_size=100000", "views.smallest=0.0"}) {
    MaePretraining wrong = tiny("other");
    wrong.pictures.resize(4);
    wrong.recipe.set(value, "test");
    EXPECT_NE(error(wrong), "") << value;
  }
}

}  // namespace
}  // namespace attune

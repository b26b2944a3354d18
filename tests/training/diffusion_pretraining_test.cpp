#include "attune/training/diffusion_pretraining.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/diffusion/diffusion_folder.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/tensors/device.h"
#include "tests/support/error_of.h"
#include "tests/support/small_model.h"
#include "tests/training/fails_at.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class DiffusionPretrainingTest : public testing::Test {
 protected:
  DiffusionPretrainingTest() {
    set_threads(1);  // bits are promised for a number of threads
    KeyedRandom random(5, "test.pictures");
    data_.name = "drawn";
    data_.root = folder_.path() / "pictures";
    data_.classes = {"cat", "owl"};
    data_.domains = {"ink", "paint"};
    for (int i = 0; i < 6; ++i) {
      Image image{24, 20, {}};
      image.rgb.resize(static_cast<std::size_t>(image.width * image.height * 3));
      for (auto& value : image.rgb) value = static_cast<std::uint8_t>(random.below(256));
      Sample sample;
      sample.path = fs::path(i % 2 == 0 ? "even" : "odd") / std::to_string(i).append(".png");
      sample.label = i % 2;
      sample.domain = i / 3;
      write_file(data_.path_of(sample), encode_png(image));
      data_.all.push_back(sample);
    }
  }

  DiffusionPretraining tiny(const std::string& run, bool resume = false) const {
    Config recipe(diffusion_pretraining_schema());
    recipe.set("text_model", Json(kSmallModel), "test");
    for (const char* value : {"image_size=8", "model.channels=8,16", "model.attention=0,1", "model.heads=2",
                              "model.groups=4", "train.samples=24", "batch=4", "warmup=2", "fall=2"}) {
      recipe.set(value, "test");
    }
    return {recipe, data_, folder_.path() / run, resume};
  }

  TemporaryFolder folder_;
  Dataset data_;
};

TEST_F(DiffusionPretrainingTest, GoesOnWithTheSameBitsAfterAFailure) {
  ASSERT_TRUE(pretrain_diffusion(tiny("whole"), nullptr));
  DiffusionPretraining stopped = tiny("run");
  stopped.recipe.set("checkpoint.minutes", Json(0.0), "test");
  FailsAt fails(12, 24);
  EXPECT_THROW(pretrain_diffusion(stopped, &fails), std::runtime_error);
  ASSERT_TRUE(pretrain_diffusion(tiny("run", true), nullptr));
  for (const char* file : {"model/unet/diffusion_pytorch_model.safetensors", "samples.png"}) {
    EXPECT_EQ(read_file(folder_.path() / "whole" / file), read_file(folder_.path() / "run" / file)) << file;
  }
}

TEST_F(DiffusionPretrainingTest, WritesAModelThatDrawsAndTheListOfItsPictures) {
  ASSERT_TRUE(pretrain_diffusion(tiny("run"), nullptr));
  DiffusionOptions options;
  options.text = true;
  const DiffusionModel model = load_diffusion_model(folder_.path() / "run" / "model", options);
  EXPECT_FALSE(model.vae.has_value());
  EXPECT_EQ(model.noise().prediction, Prediction::kVelocity);
  const Tensor rows = model.encoder->encode(std::vector<std::string>{"cat"});
  EXPECT_TRUE(
      model.network().predict(at::zeros({1, 3, 8, 8}), at::zeros({1}, at::kLong), rows).isfinite().all().item<bool>());
  const Json list = read_json(folder_.path() / "run" / "pictures.json");
  EXPECT_EQ(list["count"], 6);
  EXPECT_EQ(list["pictures"][1]["path"], "odd/1.png");
  EXPECT_EQ(list["pictures"][1]["name"], "owl");
  EXPECT_GT(read_image(folder_.path() / "run" / "samples.png").width, 0);
  EXPECT_THAT(describe_diffusion_needs(tiny("run")), HasSubstr("6 steps"));
}

TEST_F(DiffusionPretrainingTest, TakesThePicturesThatTheRecipeNames) {
  Config recipe = tiny("run").recipe;
  recipe.set("domains=paint", "test");
  EXPECT_EQ(pretraining_samples(recipe, data_).size(), 3U);
  recipe.set("without=odd", "test");
  EXPECT_EQ(pretraining_samples(recipe, data_).size(), 1U);
  recipe.set("without=.png", "test");
  EXPECT_THAT(error_of([&] { pretraining_samples(recipe, data_); }), HasSubstr("found none"));
}

TEST_F(DiffusionPretrainingTest, BeginsWithAModelOfTheSameShapeOnly) {
  ASSERT_TRUE(pretrain_diffusion(tiny("first"), nullptr));
  DiffusionPretraining second = tiny("second");
  second.recipe.set("begin", Json((folder_.path() / "first" / "model").string()), "test");
  second.recipe.set("train.samples=0", "test");
  ASSERT_TRUE(pretrain_diffusion(second, nullptr));
  const char* file = "model/unet/diffusion_pytorch_model.safetensors";
  EXPECT_EQ(read_file(folder_.path() / "first" / file), read_file(folder_.path() / "second" / file));
  DiffusionPretraining other = tiny("third");
  other.recipe.set("begin", second.recipe.value("begin"), "test");
  other.recipe.set("model.channels=8,8", "test");
  EXPECT_THAT(error_of([&] { pretrain_diffusion(other, nullptr); }), HasSubstr("'begin'"));
}

TEST_F(DiffusionPretrainingTest, RefusesOtherPicturesAndRecipesThatDoNotFit) {
  ASSERT_TRUE(pretrain_diffusion(tiny("run"), nullptr));
  DiffusionPretraining fewer = tiny("run", true);
  fewer.data.all.pop_back();
  EXPECT_THAT(error_of([&] { pretrain_diffusion(fewer, nullptr); }), HasSubstr("its own pictures"));
  for (const char* value : {"model.channels=8,x", "noise.betas=round", "templates=cat", "views.smallest=0",
                            "model.attention=0,1,1", "model.groups=3"}) {
    DiffusionPretraining wrong = tiny("wrong");
    wrong.recipe.set(value, "test");
    EXPECT_NE(error_of([&] { pretrain_diffusion(wrong, nullptr); }), "") << value;
  }
}

}  // namespace
}  // namespace attune

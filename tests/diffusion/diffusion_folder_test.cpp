#include "attune/diffusion/diffusion_folder.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/clip/folder.h"
#include "tests/support/close.h"
#include "tests/support/error_of.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::expect_close;
using testing_support::kData;

/// A copy of a stored folder that can be damaged.
struct Copy {
  explicit Copy(const char* name) { fs::copy(kData / name, path(), fs::copy_options::recursive); }
  fs::path path() const { return folder.path() / "model"; }
  void change(const fs::path& file, const char* key, const Json& value) const {
    Json json = read_json(path() / file);
    json[key] = value;
    write_json(path() / file, json);
  }
  std::string refusal(const DiffusionOptions& options = {}) const {
    return error_of([&] { load_diffusion_model(path(), options); });
  }
  TemporaryFolder folder;
};

TEST(DiffusionFolder, OnlyWhatIsAskedForIsLoaded) {
  const DiffusionModel search = load_diffusion_model(kData / "v1");
  EXPECT_EQ(search.encoder, nullptr);
  EXPECT_NE(search.autoencoder, nullptr);
  EXPECT_NE(search.frozen_unet, nullptr);
  EXPECT_EQ(search.name, "v1");
  EXPECT_EQ(search.picture_size(), 16);
  DiffusionOptions options;
  options.unet = options.vae = false;
  options.text = true;
  const DiffusionModel words = load_diffusion_model(kData / "v1", options);
  EXPECT_NE(words.encoder, nullptr);
  EXPECT_EQ(words.frozen_unet, nullptr);
  EXPECT_EQ(words.weight_hash(), search.weight_hash());
  EXPECT_THAT(error_of([&] { words.network(); }), HasSubstr("was not loaded"));
  options.unet = options.train_unet = true;
  const DiffusionModel training = load_diffusion_model(kData / "v1", options);
  EXPECT_EQ(&training.network(), training.trainable_unet.get());
}

TEST(DiffusionFolder, AModelThatShipsIsKnownByItsName) {
  const char* set = std::getenv("ATTUNE_MODELS");
  const std::string before = set == nullptr ? "" : set;
  setenv("ATTUNE_MODELS", kData.c_str(), 1);
  EXPECT_EQ(resolve_diffusion_folder("v2"), kData / "v2");
  EXPECT_EQ(resolve_diffusion_folder("nothing"), "nothing");
  EXPECT_EQ(resolve_diffusion_folder((kData / "v1").string()), kData / "v1");
  set == nullptr ? unsetenv("ATTUNE_MODELS") : setenv("ATTUNE_MODELS", before.c_str(), 1);
}

TEST(DiffusionFolder, WithoutAnAutoencoderPixelsAreDenoised) {
  const DiffusionModel model = load_diffusion_model(kData / "v2");
  EXPECT_EQ(model.picture_size(), 8);
  const Tensor pixels = at::linspace(-1, 1, 192).view({1, 3, 8, 8});
  EXPECT_TRUE(model.maps_of_pixels(pixels).equal(pixels));
  EXPECT_TRUE(model.pixels_of_maps(pixels).equal(pixels));
}

TEST(DiffusionFolder, LatentsAreScaledAndDrawn) {
  const DiffusionModel model = load_diffusion_model(kData / "v1");
  const TensorMap stored = load_tensors(kData / "v1" / "vae.safetensors");
  const Tensor noise = at::ones_like(stored.at("mean"));
  expect_close(model.maps_of_pixels(stored.at("pixels")), stored.at("mean") * 0.18215, 1e-5, "mean");
  expect_close(model.maps_of_pixels(stored.at("pixels"), noise),
               (stored.at("mean") + at::exp(0.5 * stored.at("log_variance"))) * 0.18215, 1e-5, "drawn");
  expect_close(model.pixels_of_maps(stored.at("latents") * 0.18215), stored.at("decoded"), 1e-4, "decoded");
}

TEST(DiffusionFolder, WhatIsMissingOrDoesNotFitIsNamed) {
  {
    const Copy copy("v1");
    fs::remove(copy.path() / "model_index.json");
    EXPECT_THAT(copy.refusal(), HasSubstr("model_index.json"));
  }
  {
    const Copy copy("v1");
    fs::rename(copy.path() / "unet" / "diffusion_pytorch_model.safetensors",
               copy.path() / "unet" / "diffusion_pytorch_model.bin");
    EXPECT_THAT(copy.refusal(), HasSubstr("only safetensors"));
  }
  {
    const Copy copy("v1");
    fs::remove(copy.path() / "scheduler" / "scheduler_config.json");
    EXPECT_THAT(copy.refusal(), HasSubstr("scheduler_config.json"));
  }
  {
    const Copy copy("v1");
    copy.change("model_index.json", "_class_name", "StableDiffusionXLPipeline");
    EXPECT_THAT(copy.refusal(), HasSubstr("StableDiffusionXLPipeline"));
  }
  {
    const Copy copy("v1");
    copy.change("unet/config.json", "cross_attention_dim", 16);
    EXPECT_THAT(copy.refusal(), HasSubstr("cross_attention_dim"));
  }
  {
    const Copy copy("v1");
    copy.change("unet/config.json", "block_out_channels", {8, 32});
    EXPECT_THAT(copy.refusal(), HasSubstr("down_blocks.1"));
  }
  {
    const Copy copy("v1");
    fs::remove_all(copy.path() / "vae");
    EXPECT_THAT(copy.refusal(), HasSubstr("pixels without a vae/"));
  }
  {
    const Copy copy("v1");
    fs::remove_all(copy.path() / "text_encoder");
    EXPECT_EQ(copy.refusal(), "");
    DiffusionOptions options;
    options.text = true;
    EXPECT_THAT(copy.refusal(options), HasSubstr("text_encoder/"));
  }
  {
    const Copy copy("v1");
    copy.change("scheduler/scheduler_config.json", "beta_schedule", "sigmoid");
    EXPECT_THAT(copy.refusal(), HasSubstr("sigmoid"));
  }
}

TEST(DiffusionFolder, DamagedConfigurationsAreErrorsAndNothingElse) {
  for (const char* file : {"model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
                           "scheduler/scheduler_config.json"}) {
    const Copy copy("v1");
    const std::string whole = read_file(copy.path() / file);
    for (std::size_t size = 0; size < whole.size() - 2; size += 37) {
      write_file(copy.path() / file, whole.substr(0, size));
      EXPECT_NE(copy.refusal(), "") << file << " cut to " << size;
    }
    for (const char* hostile :
         {"[]", "null", "{\"block_out_channels\": [9223372036854775807]}", "{\"_class_name\": 3}"}) {
      write_file(copy.path() / file, hostile);
      EXPECT_NO_THROW(copy.refusal()) << file;
    }
  }
}

TEST(DiffusionFolder, AWrittenFolderIsReadBack) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "small";
  DiffusionParts parts;
  parts.unet = describe_diffusion_folder(kData / "v2").unet;
  parts.clip = fs::path(ATTUNE_SOURCE_DIR) / "tests" / "clip" / "data" / "hf_gelu";
  parts.unet.hidden_width = describe_folder(parts.clip).config.text.width;
  parts.parameters = random_unet_tensors(parts.unet, 5);
  parts.sampler.noise.prediction = Prediction::kVelocity;
  write_diffusion_folder(path, parts);
  DiffusionOptions options;
  options.text = true;
  const DiffusionModel model = load_diffusion_model(path, options);
  EXPECT_FALSE(model.vae.has_value());
  EXPECT_EQ(model.noise().prediction, Prediction::kVelocity);
  const auto expected = make_frozen_unet(parts.unet, {parts.parameters, "random"});
  const Tensor maps = at::linspace(-1, 1, 192).view({1, 3, 8, 8}), steps = at::tensor({7}, at::kLong);
  const Tensor hidden = model.encoder->encode(std::vector<std::string>{"a cat"});
  // Not the same bits: mapped numbers lie otherwise in memory, and products are summed up in another order.
  expect_close(model.network().predict(maps, steps, hidden), expected->predict(maps, steps, hidden), 1e-5, "predicted");
  EXPECT_THAT(error_of([&] { write_diffusion_folder(path, parts); }), HasSubstr("no such folder"));
  EXPECT_FALSE(fs::exists(path.string() + ".partial"));
}

TEST(DiffusionFolder, AChangedUNetIsWrittenBesideTheOtherParts) {
  const TemporaryFolder folder;
  DiffusionOptions options;
  options.train_unet = true;
  const DiffusionModel model = load_diffusion_model(kData / "v1", options);
  DiffusionParts parts;
  parts.unet = model.unet;
  parts.parameters = model.trainable_unet->parameters();
  parts.others = kData / "v1";
  write_diffusion_folder(folder.path() / "tuned", parts);
  const DiffusionModel tuned = load_diffusion_model(folder.path() / "tuned");
  EXPECT_TRUE(tuned.vae.has_value() && tuned.text.has_value());
  EXPECT_EQ(tuned.scheduler, model.scheduler);
  const TensorMap stored = load_tensors(kData / "v1" / "unet" / "diffusion_pytorch_model.safetensors");
  const TensorMap written = load_tensors(folder.path() / "tuned" / "unet" / "diffusion_pytorch_model.safetensors");
  ASSERT_EQ(written.size(), stored.size());
  for (const auto& [name, tensor] : stored) EXPECT_TRUE(written.at(name).equal(tensor.to(at::kFloat))) << name;
}

TEST(DiffusionFolder, NothingIsLeftOfAFolderThatCouldNotBeWritten) {
  const TemporaryFolder folder;
  DiffusionParts parts;
  parts.unet = describe_diffusion_folder(kData / "v2").unet;
  EXPECT_THAT(error_of([&] { write_diffusion_folder(folder.path() / "x", parts); }), HasSubstr("conv_in"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace attune

#include "attune/clip/convert.h"

#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/clip/model.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing_support::kData;

// OpenCLIP's folders carry the names of OpenAI's archives. Heads have the width 64 there, so the small models' single
// heads need weights of that width: only shapes are compared for them.
NamedTensors flat(const char* name) {
  return {load_tensors(kData / name / "open_clip_model.safetensors"), name};
}

TEST(Convert, DeducesTheConfigurationFromShapes) {
  const auto vit = deduce_config(flat("open_clip_vit"));
  EXPECT_EQ(vit.joint_width, 24);
  EXPECT_EQ(vit.text.width, 32);
  EXPECT_EQ(vit.text.layers, 3);
  EXPECT_EQ(vit.text.context_length, 77);
  EXPECT_EQ(vit.text.vocabulary, 640);
  EXPECT_EQ(vit.vision.image_size, 32);
  EXPECT_EQ(vit.vision.patch, 8);
  EXPECT_EQ(vit.vision.layers, 2);
  EXPECT_EQ(vit.vision.heads, 1);
  const auto resnet = deduce_config(flat("open_clip_resnet"));
  EXPECT_EQ(resnet.vision.kind, VisionConfig::Kind::kResNet);
  EXPECT_EQ(resnet.vision.stages, (std::vector<std::int64_t>{1, 2, 1, 1}));
  EXPECT_EQ(resnet.vision.image_size, 64);
  EXPECT_EQ(resnet.vision.heads, 2);
}

TEST(Convert, AConvertedResNetGivesTheSameFeatures) {
  const TemporaryFolder folder;
  convert_tensors(flat("open_clip_resnet"), folder.path(), kData / "open_clip_resnet/tokenizer.json", at::kHalf);
  const auto converted = load_model(folder.path().string());
  const auto expected = load_tensors(kData / "open_clip_resnet/expected.safetensors");
  const at::NoGradGuard frozen;
  EXPECT_TRUE(at::allclose(converted.image->encode(expected.at("pixels")).global, expected.at("image"), 1e-4, 1e-5));
  EXPECT_EQ(converted.config.text.activation, Activation::kQuickGelu);
}

TEST(Convert, AConvertedTransformerLoadsAsHuggingFace) {
  const TemporaryFolder folder;
  convert_tensors(flat("open_clip_vit"), folder.path(), kData / "open_clip_vit/tokenizer.json", at::kHalf);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "config.json"));
  const auto converted = load_model(folder.path().string());
  EXPECT_EQ(converted.config.text.pooling, Pooling::kLargestId);
  EXPECT_EQ(converted.config.vision.activation, Activation::kQuickGelu);
  // Every weight arrived: with the heads of the original the features are the original's.
  const auto original = load_model((kData / "open_clip_vit").string());
  ClipConfig config = converted.config;
  config.vision.heads = original.config.vision.heads;
  const NamedTensors source{load_tensors(folder.path() / "model.safetensors"), "converted"};
  const auto expected = load_tensors(kData / "open_clip_vit/expected.safetensors");
  const at::NoGradGuard frozen;
  const auto features = encode_vit(config.vision, frozen_vit_weights(config, source), expected.at("pixels"));
  EXPECT_TRUE(at::allclose(features.global, expected.at("image"), 1e-4, 1e-5));
}

TEST(Convert, NamesWhatIsMissing) {
  auto source = flat("open_clip_vit");
  source.tensors.erase("text_projection");
  const TemporaryFolder folder;
  try {
    convert_tensors(source, folder.path() / "out", {}, at::kHalf);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "open_clip_vit: expected a tensor 'text_projection', found none");
  }
  source = flat("open_clip_vit");
  source.tensors["visual.positional_embedding"] = at::zeros({16, 64});
  EXPECT_THROW(convert_tensors(source, folder.path() / "out", {}, at::kHalf), Error);
  source = flat("open_clip_vit");
  source.tensors.erase("visual.transformer.resblocks.1.mlp.c_proj.bias");
  EXPECT_THROW(convert_tensors(source, folder.path() / "out", {}, at::kHalf), Error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
}

}  // namespace
}  // namespace attune

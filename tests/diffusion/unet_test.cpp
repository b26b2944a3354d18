#include "attune/diffusion/unet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/json.h"
#include "tests/support/close.h"
#include "tests/support/error_of.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::expect_close;
using testing_support::kData;

UNetConfig unet_config(const std::string& name) {
  const fs::path path = kData / name / "unet" / "config.json";
  return read_unet_config(read_json(path), path.string());
}

NamedTensors unet_tensors(const std::string& name) {
  const fs::path path = kData / name / "unet" / "diffusion_pytorch_model.safetensors";
  return {load_tensors(path), path.string()};
}

/// A network small enough for every test.
UNetConfig small_config() {
  UNetConfig config;
  config.channels = {4, 8};
  config.attention_down = {true, false};
  config.attention_up = {false, true};
  config.layers = {1, 1};
  config.heads = {2, 2};
  config.transformer_layers = {1, 1};
  config.hidden_width = 6;
  config.in_channels = config.out_channels = 3;
  config.groups = 2;
  return config;
}

NamedTensors random_source(const UNetConfig& config, std::uint64_t seed = 1) {
  return {random_unet_tensors(config, seed), "random"};
}

Tensor drawn(at::IntArrayRef shape, std::uint64_t index) {
  KeyedRandom random(7, "unet test", index);
  return normal(shape, 0, 1, random);
}

class StoredUNet : public testing::TestWithParam<const char*> {};

TEST_P(StoredUNet, PredictionsAndGradientsAreThoseOfDiffusersParity) {
  const UNetConfig config = unet_config(GetParam());
  const TensorMap expected = load_tensors(kData / GetParam() / "unet.safetensors");
  const Tensor hidden = expected.at("hidden").clone().set_requires_grad(true);
  const auto frozen = make_frozen_unet(config, unet_tensors(GetParam()));
  const Tensor found = frozen->predict(expected.at("maps"), expected.at("steps"), hidden);
  expect_close(found.detach(), expected.at("predicted"), 1e-5, "predicted");
  (found * expected.at("weight")).sum().backward();
  expect_close(hidden.grad(), expected.at("gradient.hidden"), 2e-5, "hidden");

  const TrainableUNet trainable(config, unet_tensors(GetParam()));
  const Tensor again = trainable.predict(expected.at("maps"), expected.at("steps"), expected.at("hidden"));
  expect_close(again.detach(), expected.at("predicted"), 1e-5, "predicted, trainable");
  (again * expected.at("weight")).sum().backward();
  std::size_t compared = 0;
  for (const auto& [name, leaf] : trainable.parameters()) {
    ASSERT_TRUE(leaf.grad().defined()) << name;
    const auto stored = expected.find("gradient." + name);
    if (stored == expected.end()) continue;
    ++compared;
    expect_close(leaf.grad().reshape({leaf.size(0), -1}).sum(1), stored->second, 1e-4, name);
  }
  EXPECT_EQ(compared, expected.size() - 6);
}

TEST_P(StoredUNet, NamesAndShapesAreThoseOfTheFile) {
  const auto shapes = unet_shapes(unet_config(GetParam()));
  const NamedTensors stored = unet_tensors(GetParam());
  EXPECT_EQ(shapes.size(), stored.tensors.size());
  for (const auto& [name, shape] : shapes) EXPECT_NO_THROW(stored.take(name, shape));
}

TEST_P(StoredUNet, AConfigurationIsReadAsItIsWritten) {
  const UNetConfig config = unet_config(GetParam());
  EXPECT_EQ(unet_json(read_unet_config(unet_json(config), "written")).dump(), unet_json(config).dump());
}

INSTANTIATE_TEST_SUITE_P(Forms, StoredUNet, testing::Values("v1", "v2"));

TEST(UNet, RowsOfOneConceptServeAWholeBatch) {
  const auto unet = make_frozen_unet(small_config(), random_source(small_config()));
  const Tensor maps = drawn({3, 3, 8, 8}, 0), steps = at::tensor({1, 500, 999}, at::kLong);
  const Tensor shared = drawn({1, 4, 6}, 1).set_requires_grad(true);
  const Tensor repeated = shared.detach().repeat({3, 1, 1}).set_requires_grad(true);
  const Tensor found = unet->predict(maps, steps, shared), expected = unet->predict(maps, steps, repeated);
  expect_close(found.detach(), expected.detach(), 1e-6, "predicted");
  found.square().sum().backward();
  expected.square().sum().backward();
  expect_close(shared.grad(), repeated.grad().sum(0, true), 1e-4, "gradient");
}

TEST(UNet, APictureDoesNotDependOnItsNeighbours) {
  const auto unet = make_frozen_unet(small_config(), random_source(small_config()));
  const Tensor maps = drawn({2, 3, 8, 8}, 0), steps = at::tensor({10, 800}, at::kLong), hidden = drawn({2, 4, 6}, 1);
  const Tensor both = unet->predict(maps, steps, hidden);
  const Tensor second = unet->predict(maps.narrow(0, 1, 1), steps.narrow(0, 1, 1), hidden.narrow(0, 1, 1));
  expect_close(second, both.narrow(0, 1, 1), 1e-5, "second");
}

TEST(UNet, ParametersGoThroughTheShapesOfAFileAndBack) {
  const TrainableUNet unet(small_config(), random_source(small_config(), 3));
  const TensorMap written = unet_file_tensors(small_config(), unet.parameters());
  const TensorMap drawn = random_unet_tensors(small_config(), 3);
  ASSERT_EQ(written.size(), drawn.size());
  for (const auto& [name, tensor] : drawn) EXPECT_TRUE(written.at(name).equal(tensor)) << name;
  TrainableUNet other(small_config(), random_source(small_config(), 4));
  other.load_parameters(unet.parameters());
  for (const auto& [name, leaf] : unet.parameters()) EXPECT_TRUE(other.parameters().at(name).equal(leaf)) << name;
}

TEST(UNet, WrongShapesAreNamed) {
  const auto unet = make_frozen_unet(small_config(), random_source(small_config()));
  const Tensor maps = drawn({2, 3, 8, 8}, 0), steps = at::tensor({10, 800}, at::kLong);
  EXPECT_THAT(error_of([&] { unet->predict(maps, steps, drawn({2, 4, 5}, 1)); }), HasSubstr("[B or 1, n, 6]"));
  EXPECT_THAT(error_of([&] { unet->predict(maps, steps, drawn({3, 4, 6}, 1)); }), HasSubstr("[3, 4, 6]"));
  EXPECT_THAT(error_of([&] {
                unet->predict(drawn({2, 4, 8, 8}, 0), steps, drawn({2, 4, 6}, 1));
              }),
              HasSubstr("[2, 4, 8, 8]"));
}

TEST(UNet, ATensorThatIsMissingIsNamed) {
  NamedTensors source = random_source(small_config());
  source.tensors.erase("mid_block.attentions.0.norm.weight");
  EXPECT_THAT(error_of([&] { make_frozen_unet(small_config(), source); }),
              HasSubstr("mid_block.attentions.0.norm.weight"));
}

TEST(UNet, OtherArchitecturesAreRefusedByTheirMember) {
  const auto refusal = [](const char* key, const Json& value) {
    Json json = unet_json(small_config());
    json[key] = value;
    return error_of([&] { read_unet_config(json, "config.json"); });
  };
  EXPECT_THAT(refusal("class_embed_type", "timestep"), HasSubstr("class_embed_type"));
  EXPECT_THAT(refusal("resnet_time_scale_shift", "scale_shift"), HasSubstr("resnet_time_scale_shift"));
  EXPECT_THAT(refusal("down_block_types", {"AttnDownBlock2D", "DownBlock2D"}), HasSubstr("AttnDownBlock2D"));
  EXPECT_THAT(refusal("mid_block_type", "UNetMidBlock2D"), HasSubstr("mid_block_type"));
  EXPECT_THAT(refusal("attention_head_dim", 3), HasSubstr("heads"));
  EXPECT_THAT(refusal("norm_num_groups", 3), HasSubstr("groups"));
  EXPECT_THAT(refusal("layers_per_block", {1, 1, 1}), HasSubstr("layers_per_block"));
  EXPECT_THAT(refusal("block_out_channels", {4, -8}), HasSubstr("-8"));
  EXPECT_THAT(refusal("norm_num_groups", "two"), HasSubstr("norm_num_groups"));
  EXPECT_THAT(refusal("_class_name", "UNet2DModel"), HasSubstr("UNet2DModel"));
  EXPECT_EQ(refusal("dual_cross_attention", false), "");
}

}  // namespace
}  // namespace attune

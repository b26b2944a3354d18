#include "attune/diffusion/vae.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/close.h"
#include "tests/support/error_of.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::expect_close;

const fs::path kFolder = fs::path(ATTUNE_TEST_DATA) / "v1";

Json stored_json() {
  return read_json(kFolder / "vae" / "config.json");
}
VaeConfig vae_config() {
  return read_vae_config(stored_json(), "config.json");
}
NamedTensors vae_tensors() {
  return {load_tensors(kFolder / "vae" / "diffusion_pytorch_model.safetensors"), "vae"};
}

void expect_stored_numbers(const Vae& vae) {
  const TensorMap expected = load_tensors(kFolder / "vae.safetensors");
  const Latents latents = vae.encode(expected.at("pixels"));
  expect_close(latents.mean, expected.at("mean"), 1e-5, "mean");
  expect_close(latents.log_variance, expected.at("log_variance"), 1e-5, "log variance");
  expect_close(vae.decode(expected.at("latents")), expected.at("decoded"), 1e-5, "decoded");
}

TEST(VaeParity, LatentsAndPixelsAreThoseOfDiffusers) {
  expect_stored_numbers(Vae(vae_config(), vae_tensors()));
}

TEST(VaeParity, OlderNamesOfTheAttentionMeanTheSame) {
  NamedTensors older;
  older.origin = "vae";
  for (const auto& [name, tensor] : vae_tensors().tensors) {
    std::string renamed = name;
    for (const auto& [to, from] : {std::pair{"to_q", "query"}, std::pair{"to_k", "key"}, std::pair{"to_v", "value"},
                                   std::pair{"to_out.0", "proj_attn"}}) {
      const auto at = renamed.find(to);
      if (at != std::string::npos) renamed.replace(at, std::string_view(to).size(), from);
    }
    // Some of them keep the matrices as convolutions of one cell.
    const bool matrix = renamed.find("query.weight") != std::string::npos;
    older.tensors[renamed] = matrix ? tensor.unsqueeze(2).unsqueeze(3) : tensor;
  }
  ASSERT_TRUE(older.contains("encoder.mid_block.attentions.0.proj_attn.weight"));
  expect_stored_numbers(Vae(vae_config(), older));
}

TEST(Vae, NamesAndShapesAreThoseOfTheFile) {
  const auto shapes = vae_shapes(vae_config());
  const NamedTensors stored = vae_tensors();
  EXPECT_EQ(shapes.size(), stored.tensors.size());
  for (const auto& [name, shape] : shapes) EXPECT_NO_THROW(stored.take(name, shape));
}

TEST(Vae, GradientsReachPixels) {
  const Vae vae(vae_config(), vae_tensors());
  const Tensor pixels = at::full({1, 3, 8, 8}, 0.1).set_requires_grad(true);
  vae.encode(pixels).mean.sum().backward();
  EXPECT_GT(pixels.grad().abs().max().item<double>(), 0);
}

TEST(Vae, WhatIsWrongIsNamed) {
  const auto refusal = [](const char* key, const Json& value) {
    Json json = stored_json();
    json[key] = value;
    return error_of([&] { read_vae_config(json, "config.json"); });
  };
  EXPECT_THAT(refusal("down_block_types", {"DownEncoderBlock2D", "AttnDownEncoderBlock2D"}),
              HasSubstr("AttnDownEncoderBlock2D"));
  EXPECT_THAT(refusal("up_block_types", {"UpDecoderBlock2D"}), HasSubstr("up_block_types"));
  EXPECT_THAT(refusal("in_channels", 1), HasSubstr("in_channels"));
  EXPECT_THAT(refusal("scaling_factor", -1), HasSubstr("scaling_factor"));
  EXPECT_THAT(refusal("block_out_channels", {3, 8}), HasSubstr("groups"));
  EXPECT_THAT(refusal("latents_mean", {0, 0, 0, 0}), HasSubstr("latents_mean"));
  EXPECT_THAT(refusal("_class_name", "VQModel"), HasSubstr("VQModel"));

  const Vae vae(vae_config(), vae_tensors());
  EXPECT_THAT(error_of([&] { vae.encode(at::zeros({1, 3, 9, 8})); }), HasSubstr("[1, 3, 9, 8]"));
  EXPECT_THAT(error_of([&] { vae.decode(at::zeros({1, 3, 8, 8})); }), HasSubstr("[B, 4, h, w]"));
  NamedTensors less = vae_tensors();
  less.tensors.erase("decoder.conv_out.bias");
  EXPECT_THAT(error_of([&] { Vae(vae_config(), less); }), HasSubstr("decoder.conv_out.bias"));
}

}  // namespace
}  // namespace attune

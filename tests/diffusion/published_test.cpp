#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/diffusion/diffusion_folder.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

void expect_published(const Shapes& shapes, const std::string& name) {
  const Json stored = read_json(fs::path(ATTUNE_TEST_DATA) / "published.json")[name];
  std::string lines;
  std::int64_t numbers = 0;
  for (const auto& [tensor, shape] : shapes) {
    lines += fmt::format("{}{} {}", lines.empty() ? "" : "\n", tensor, fmt::join(shape, " "));
    std::int64_t product = 1;
    for (const auto side : shape) product *= side;
    numbers += product;
  }
  EXPECT_EQ(shapes.size(), stored["tensors"].get<std::size_t>()) << name;
  EXPECT_EQ(numbers, stored["numbers"].get<std::int64_t>()) << name;
  EXPECT_EQ(sha256(lines), stored["sha256"].get<std::string>()) << name;
}

TEST(PublishedParity, NamesAndShapesOfStableDiffusionAreThoseOfDiffusers) {
  expect_published(unet_shapes(stable_diffusion_1_unet()), "v1.unet");
  expect_published(unet_shapes(stable_diffusion_2_unet()), "v2.unet");
  expect_published(vae_shapes(VaeConfig{}), "vae");
}

TEST(Published, TheirConfigurationsAreReadAsTheyAre) {
  // What the published unet/config.json say, by members that matter.
  const Json first = {{"_class_name", "UNet2DConditionModel"},
                      {"_diffusers_version", "0.6.0"},
                      {"act_fn", "silu"},
                      {"attention_head_dim", 8},
                      {"block_out_channels", {320, 640, 1280, 1280}},
                      {"center_input_sample", false},
                      {"cross_attention_dim", 768},
                      {"downsample_padding", 1},
                      {"flip_sin_to_cos", true},
                      {"freq_shift", 0},
                      {"layers_per_block", 2},
                      {"mid_block_scale_factor", 1},
                      {"norm_eps", 1e-05},
                      {"norm_num_groups", 32},
                      {"sample_size", 64}};
  EXPECT_EQ(unet_json(read_unet_config(first, "v1")), unet_json(stable_diffusion_1_unet()));
  Json second = first;
  second.update(Json{{"attention_head_dim", {5, 10, 20, 20}},
                     {"cross_attention_dim", 1024},
                     {"dual_cross_attention", false},
                     {"only_cross_attention", false},
                     {"num_class_embeds", nullptr},
                     {"upcast_attention", true},
                     {"use_linear_projection", true},
                     {"sample_size", 96}});
  EXPECT_EQ(unet_json(read_unet_config(second, "v2")), unet_json(stable_diffusion_2_unet()));
  EXPECT_EQ(unet_json(read_unet_config(unet_json(stable_diffusion_2_unet(false)), "v2 base")),
            unet_json(stable_diffusion_2_unet(false)));
}

double relative_error(const Tensor& found, const Tensor& expected) {
  return (found - expected).norm().item<double>() / expected.norm().item<double>();
}

TEST(FullSizeSlow, AModelAgreesWithItsOracleParity) {
  const char* folder = std::getenv("ATTUNE_DIFFUSION_FOLDER");
  if (folder == nullptr) GTEST_SKIP() << "ATTUNE_DIFFUSION_FOLDER is not set; tests/diffusion/parity_full.py sets it";
  const TensorMap expected = load_tensors(fs::path(folder) / "expected.safetensors");
  const DiffusionModel model = load_diffusion_model(folder);
  const Tensor hidden = expected.at("hidden").clone().set_requires_grad(true);
  const Tensor predicted = model.network().predict(expected.at("maps"), expected.at("steps"), hidden);
  (predicted * expected.at("weight")).sum().backward();
  const double forward = relative_error(predicted.detach(), expected.at("predicted"));
  const double backward = relative_error(hidden.grad(), expected.at("gradient"));
  const at::NoGradGuard without_gradients;
  const double pixels = relative_error(model.autoencoder->decode(expected.at("latents")), expected.at("decoded"));
  const double latents = relative_error(model.autoencoder->encode(expected.at("pixels")).mean, expected.at("mean"));
  std::printf("relative error: predicted %.1e, gradient %.1e, decoded %.1e, encoded %.1e\n", forward, backward, pixels,
              latents);
  EXPECT_LT(forward, 1e-4);
  EXPECT_LT(backward, 1e-4);
  EXPECT_LT(pixels, 1e-4);
  EXPECT_LT(latents, 1e-4);
}

}  // namespace
}  // namespace attune

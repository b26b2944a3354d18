#include "attune/domains/mae.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/domains/domain_model.h"
#include "tests/support/close.h"
#include "tests/support/error_of.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::expect_close;
using testing_support::kData;

/// The shape of the folder "vit_mae" of the test data.
MaeConfig recorded_config() {
  MaeConfig config;
  config.image_size = 32;
  config.patch = 8;
  config.encoder = {24, 40, 2, 3, Activation::kGelu, 1e-6};
  config.decoder = {16, 20, 2, 2, Activation::kGelu, 1e-6};
  return config;
}

Mae recorded_mae() {
  const fs::path path = kData / "vit_mae" / "model.safetensors";
  return {recorded_config(), NamedTensors{load_tensors(path), path.string()}};
}

TEST(MaeParity, LossPredictionsAndGradientsOfAStep) {
  const TensorMap step = load_tensors(kData / "mae_step.safetensors");
  const Tensor pixels = load_tensors(kData / "expected.safetensors").at("pixels");
  const Mae mae = recorded_mae();
  const Tensor order = step.at("noise").argsort(1, false);
  const MaeForward found = mae.forward(pixels, order);
  EXPECT_NEAR(found.loss.item<double>(), step.at("loss").item<double>(), 1e-5);
  const Tensor masked = order.narrow(1, 4, 12);
  expect_close(found.predicted.detach(),
               step.at("logits").gather(1, masked.unsqueeze(2).expand({-1, -1, found.predicted.size(2)})), 1e-5,
               "predictions");
  found.loss.backward();
  TensorMap gradients;
  for (const auto& [name, value] : mae.parameters()) {
    ASSERT_TRUE(value.grad().defined()) << name;
    gradients[name] = value.grad();
  }
  std::size_t compared = 0;
  const TensorMap named = hugging_face_mae(mae.config(), gradients);
  for (const auto& [name, gradient] : step) {
    if (!name.starts_with("gradient.")) continue;
    const std::string own = name.substr(9);
    ASSERT_TRUE(named.contains(own)) << own;
    expect_close(named.at(own), gradient, 1e-4, own);
    ++compared;
  }
  EXPECT_EQ(compared, named.size());
}

TEST(MaeParity, FixedPositions) {
  const TensorMap step = load_tensors(kData / "mae_step.safetensors");
  expect_close(sine_positions(4, 16), step.at("positions"), 1e-6, "positions");
}

TEST(Mae, HiddenPatchesDoNotChangeWhatIsPredicted) {
  const Mae mae(recorded_config(), 3);
  KeyedRandom random(1, "test.mae");
  const Tensor pixels = normal({2, 3, 32, 32}, 0.0, 1.0, random);
  const Tensor order = at::stack({at::arange(16, at::kLong), at::arange(16, at::kLong).flip(0)});
  const Tensor masked = order.narrow(1, 4, 12);
  const Tensor other = put_patches(pixels, normal({2, 12, 192}, 0.0, 1.0, random), masked, 8);
  EXPECT_FALSE(other.equal(pixels));
  EXPECT_TRUE(mae.forward(other, order).predicted.equal(mae.forward(pixels, order).predicted));
  EXPECT_TRUE(put_patches(other, mae.hidden_patches(pixels, order), masked, 8).equal(pixels));
}

TEST(Mae, AFewStepsLowerTheLoss) {
  Mae mae(recorded_config(), 3);
  KeyedRandom random(1, "test.mae");
  const Tensor pixels = normal({4, 3, 4, 4}, 0.0, 1.0, random).repeat_interleave(8, 2).repeat_interleave(8, 3) +
                        normal({4, 3, 32, 32}, 0.0, 0.1, random);
  const Tensor order = at::arange(16, at::kLong).expand({4, 16});
  double first = 0.0, last = 0.0;
  for (int i = 0; i < 20; ++i) {
    const Tensor loss = mae.forward(pixels, order).loss;
    (i == 0 ? first : last) = loss.item<double>();
    loss.backward();
    const at::NoGradGuard no_gradients;
    for (const auto& [name, value] : mae.parameters()) {
      value.sub_(value.grad(), 0.1);
      value.mutable_grad() = Tensor();
    }
  }
  EXPECT_LT(last, 0.95 * first);
}

TEST(Mae, AWrittenFolderIsADomainModel) {
  const TemporaryFolder folder;
  const Mae mae = recorded_mae();
  Preprocess preprocess;
  preprocess.size = 32;
  write_mae_folder(folder.path(), mae, preprocess);
  const Tensor pixels = load_tensors(kData / "expected.safetensors").at("pixels");
  const auto written = load_domain_model(folder.path());
  EXPECT_TRUE(written->encode(pixels).equal(load_domain_model(kData / "vit_mae")->encode(pixels)));
  EXPECT_EQ(written->preprocess().size, 32);
  const Mae again(recorded_config(), NamedTensors{load_tensors(folder.path() / "model.safetensors"), "again"});
  for (const auto& [name, value] : again.parameters()) EXPECT_TRUE(value.equal(mae.parameters().at(name))) << name;
}

TEST(Mae, RefusesShapesThatCannotBe) {
  const auto error = [](const std::function<void(MaeConfig&)>& change) {
    MaeConfig config = recorded_config();
    change(config);
    return error_of([&] { Mae(config, 0); });
  };
  EXPECT_EQ(error([](MaeConfig&) {}), "");
  EXPECT_THAT(error([](MaeConfig& c) { c.patch = 5; }), HasSubstr("whole patches"));
  EXPECT_THAT(error([](MaeConfig& c) { c.encoder.width = 25; }), HasSubstr("widths"));
  EXPECT_THAT(error([](MaeConfig& c) { c.decoder.layers = 0; }), HasSubstr("at least one block"));
  EXPECT_THAT(error([](MaeConfig& c) { c.mask_ratio = 1.0; }), HasSubstr("16 patches"));
  EXPECT_THAT(error([](MaeConfig& c) { c.mask_ratio = 0.99; }), HasSubstr("16 patches"));
  EXPECT_THAT(error([](MaeConfig& c) { c.mask_ratio = 0.0; }), HasSubstr("16 patches"));
}

}  // namespace
}  // namespace attune

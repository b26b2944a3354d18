#include "attune/diffusion/sampler.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/close.h"
#include "tests/support/error_of.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::expect_close;
using testing_support::kData;

Tensor never() {
  ADD_FAILURE() << "asked for noise";
  return {};
}

/// The stand-in for a network of the script.
Tensor network(const Tensor& maps, std::int64_t time) {
  return at::tanh(0.8 * maps + 0.3 * std::cos(static_cast<double>(time) / 100.0));
}

TEST(SamplerParity, TimesAndWholeWaysAreThoseOfDiffusers) {
  const Json cases = read_json(kData / "schedulers.json");
  const TensorMap stored = load_tensors(kData / "schedulers.safetensors");
  ASSERT_GE(cases.size(), 15U);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::string name = std::to_string(i) + ".";
    SCOPED_TRACE(name + cases[i]["scheduler"].dump());
    const SamplerConfig config = read_sampler_config(cases[i]["scheduler"], "schedulers.json");
    const auto sampler = make_sampler(config, cases[i]["steps"]);
    const Tensor times = stored.at(name + "times"), way = stored.at(name + "way");
    ASSERT_TRUE(at::tensor(sampler->times(), at::kLong).equal(times));
    Tensor maps = stored.at(name + "first");
    for (std::size_t step = 0; step < sampler->times().size(); ++step) {
      const auto noise = [&] {
        return stored.contains(name + "noise") ? stored.at(name + "noise")[static_cast<std::int64_t>(step)] : never();
      };
      maps = sampler->next(network(maps, sampler->times()[step]), maps, noise);
      expect_close(maps, way[static_cast<std::int64_t>(step)], 2e-5, "step " + std::to_string(step));
    }
  }
}

TEST(SamplerParity, NoiseAndVelocityAreThoseOfDiffusers) {
  const Json cases = read_json(kData / "schedulers.json");
  const TensorMap stored = load_tensors(kData / "schedulers.safetensors");
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::string name = std::to_string(i) + ".";
    const NoiseSchedule schedule(read_sampler_config(cases[i]["scheduler"], "schedulers.json").noise);
    const Tensor clean = stored.at(name + "clean"), noise = stored.at(name + "drawn"), at = stored.at(name + "at");
    expect_close(schedule.add_noise(clean, noise, at), stored.at(name + "noisy"), 1e-6, name);
    if (stored.contains(name + "velocity")) {
      expect_close(schedule.velocity(clean, noise, at), stored.at(name + "velocity"), 1e-6, name);
    }
  }
}

TEST(Sampler, APerfectNetworkLeadsToTheCleanMaps) {
  const Tensor clean = at::linspace(-0.8, 0.8, 12).view({1, 3, 2, 2});
  for (const SamplerKind kind : {SamplerKind::kDdim, SamplerKind::kDdpm, SamplerKind::kPndm}) {
    SamplerConfig config;
    config.kind = kind;
    config.set_alpha_to_one = config.skip_prk_steps = true;
    const NoiseSchedule schedule(config.noise);
    const auto sampler = make_sampler(config, 20);
    Tensor maps = at::linspace(1, -1, 12).view({1, 3, 2, 2});
    for (const auto time : sampler->times()) {
      const double product = schedule.alphas_cumprod()[time].item<double>();
      const Tensor noise = (maps - std::sqrt(product) * clean) / std::sqrt(1 - product);
      maps = sampler->next(noise, maps, [&] { return at::ones_like(maps); });
    }
    // DDIM and DDPM come to the estimate itself; PNDM's last step weighs earlier noise.
    expect_close(maps, clean, kind == SamplerKind::kPndm ? 0.05 : 1e-4, std::string(name_of(kind)));
  }
}

TEST(Sampler, AConfigurationIsReadAsItIsWritten) {
  for (const Json& one : read_json(kData / "schedulers.json")) {
    const SamplerConfig config = read_sampler_config(one["scheduler"], "schedulers.json");
    const Json written = sampler_json(config);
    EXPECT_EQ(sampler_json(read_sampler_config(written, "written")).dump(), written.dump());
    for (const auto& [key, value] : written.items()) {
      ASSERT_TRUE(one["scheduler"].contains(key)) << key;
      EXPECT_EQ(one["scheduler"][key], value) << key;
    }
  }
}

TEST(Sampler, AnotherSchedulerTakesTheSameScheduleWithItsOwnDefaults) {
  const Json pndm = {{"_class_name", "PNDMScheduler"}, {"beta_end", 0.012}, {"skip_prk_steps", true}};
  const SamplerConfig own = read_sampler_config(pndm, "x");
  EXPECT_EQ(own.kind, SamplerKind::kPndm);
  EXPECT_FALSE(own.set_alpha_to_one);
  const SamplerConfig other = read_sampler_config(pndm, "x", SamplerKind::kDdim);
  EXPECT_EQ(other.kind, SamplerKind::kDdim);
  EXPECT_TRUE(other.set_alpha_to_one);
  EXPECT_EQ(other.noise.beta_end, 0.012);
  const Json euler = {{"_class_name", "EulerDiscreteScheduler"}};
  EXPECT_THAT(error_of([&] { read_sampler_config(euler, "x"); }), HasSubstr("EulerDiscreteScheduler"));
  EXPECT_NO_THROW(read_sampler_config(euler, "x", SamplerKind::kDdpm));
}

TEST(Sampler, WhatCannotBeSampledIsRefused) {
  const auto refusal = [](const Json& json) {
    return error_of([&] { read_sampler_config(json, "scheduler_config.json", SamplerKind::kDdim); });
  };
  EXPECT_THAT(refusal({{"beta_schedule", "sigmoid"}}), HasSubstr("sigmoid"));
  EXPECT_THAT(refusal({{"prediction_type", "score"}}), HasSubstr("score"));
  EXPECT_THAT(refusal({{"timestep_spacing", 3}}), HasSubstr("timestep_spacing"));
  EXPECT_THAT(refusal({{"thresholding", true}}), HasSubstr("thresholding"));
  EXPECT_THAT(refusal({{"steps_offset", -1}}), HasSubstr("steps_offset"));
  EXPECT_THAT(refusal({{"variance_type", "learned"}}), HasSubstr("learned"));
  EXPECT_THAT(refusal({{"clip_sample_range", 0}}), HasSubstr("clip_sample_range"));

  SamplerConfig config;
  EXPECT_THAT(error_of([&] { make_sampler(config, 0); }), HasSubstr("found 0"));
  EXPECT_THAT(error_of([&] { make_sampler(config, 1001); }), HasSubstr("1001"));
  config.steps_offset = 1;
  EXPECT_THAT(error_of([&] { make_sampler(config, 1000); }), HasSubstr("time 1000"));
  config.kind = SamplerKind::kPndm;
  EXPECT_THAT(error_of([&] { make_sampler(config, 3); }), HasSubstr("at least 4"));
  config.kind = SamplerKind::kDdim;
  config.noise.rescale_to_zero_signal = true;
  EXPECT_THAT(error_of([&] { make_sampler(config, 10); }), HasSubstr("rescale_betas_zero_snr"));
  config.noise.beta_end = 1.5;
  config.noise.prediction = Prediction::kVelocity;
  EXPECT_THAT(error_of([&] { make_sampler(config, 10); }), HasSubstr("1.5"));
  EXPECT_THAT(error_of([] { sampler_named("euler"); }), HasSubstr("euler"));
}

}  // namespace
}  // namespace attune

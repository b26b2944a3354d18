#include "attune/methods/spg_training.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// Widths of tests/clip/data/hf_quick, as in make_spg.py.
constexpr std::int64_t kFeatures = 24, kLength = 4, kWidth = 32, kBatch = 6;
constexpr std::int64_t kSampled = 48;

/// The numbers of make_spg.py's `hashed`, in double precision.
Tensor hashed(std::uint32_t key, at::IntArrayRef shape) {
  Tensor values = at::empty(shape, at::kDouble);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    auto x = static_cast<std::uint32_t>(i) + key * 1000003U;
    x = (x ^ (x >> 16)) * 0x7FEB352DU;
    x = (x ^ (x >> 15)) * 0x846CA68BU;
    x ^= x >> 16;
    values.data_ptr<double>()[i] = x / 4294967296.0;
  }
  return values;
}

Tensor spread(std::uint32_t key, double bound, at::IntArrayRef shape) {
  return (2 * hashed(key, shape) - 1) * bound;
}

OptimSettings spg_settings(const std::vector<std::string>& assignments) {
  Config config(OptimSettings::schema({{"optim.name", "adamw"},
                                       {"optim.weight_decay", 1e-4},
                                       {"optim.warmup", "linear"},
                                       {"optim.warmup_epochs", 4},
                                       {"epochs", 10}}));
  for (const std::string& one : assignments) config.set(one, "test");
  return OptimSettings(config);
}

/// Both networks with one training over them.
struct Nets {
  explicit Nets(const std::vector<std::string>& assignments, const std::string& clip = "default")
      : random(1, "nets"),
        generator(kFeatures, kLength, kWidth, random),
        discriminator(kFeatures, kLength, kWidth, random),
        training(generator, discriminator, spg_settings(assignments), SpgClipping::named(clip)) {
    training.begin_epoch(0);
  }

  /// Double precision, and the weights of make_spg.py.
  void become_hashed() {
    for (const auto& [name, tensor] : generator.state()) {
      if (name.find("running") != std::string::npos) tensor.set_data(tensor.to(at::kDouble));
    }
    fill(generator.parameters(), 100);
    fill(discriminator.parameters(), 200);
  }

  static void fill(const TensorMap& parameters, std::uint32_t key) {
    for (const auto& [name, tensor] : parameters) {
      const double fan = static_cast<double>(tensor.size(tensor.dim() - 1));
      tensor.set_data(spread(key++, std::sqrt((tensor.dim() == 2 ? 6 : 1) / fan), tensor.sizes()));
    }
  }

  static SpgBatch batch(std::uint32_t iteration) {
    const auto unit = [&](std::uint32_t key) {
      const Tensor rows = spread(key, 1, {kBatch, kFeatures});
      return rows / rows.norm(2, 1, true);
    };
    const Tensor labels = spread(1, 0.3, {2, kLength, kWidth});
    return {labels.index_select(0, at::arange(kBatch) % 2), unit(1000 + iteration), unit(2000 + iteration)};
  }

  static SpgDraws draws(std::uint32_t iteration) {
    const auto masks = [&](std::uint32_t pass) {
      return hashed(4000 + 3 * iteration + pass, {2, kBatch, PromptDiscriminator::kHidden}).lt(0.6).to(at::kDouble) /
             0.6;
    };
    return {spread(3000 + iteration, 2, {kBatch, PromptGenerator::kNoise}), masks(0), masks(1), masks(2)};
  }

  KeyedRandom random;
  PromptGenerator generator;
  PromptDiscriminator discriminator;
  SpgTraining training;
};

/// Compares every tensor of both networks with the entries, the sum and the norm that make_spg.py stored.
void expect_state(const Nets& nets, const TensorMap& stored, const std::string& run, double tolerance) {
  std::size_t compared = 0;
  const auto compare = [&](const std::string& prefix, const TensorMap& state) {
    for (const auto& [name, tensor] : state) {
      const Tensor flat = tensor.detach().flatten().to(at::kDouble);
      const Tensor picked = flat.index_select(0, at::arange(kSampled).mul(flat.numel()).floor_divide(kSampled));
      const Tensor found = at::cat({picked, flat.sum().view(1), flat.norm().view(1)});
      const Tensor expected = stored.at(run + "." + prefix + name);
      // Of the sum, the entries' errors add up.
      const Tensor allowed = at::full_like(expected, tolerance);
      allowed[kSampled] = tolerance * static_cast<double>(flat.numel());
      EXPECT_TRUE((found - expected).abs().lt(allowed).all().item<bool>())
          << run << " " << prefix << name << ": " << (found - expected).abs().max().item<double>();
      ++compared;
    }
  };
  compare("generator.", nets.generator.state());
  compare("discriminator.", nets.discriminator.parameters());
  EXPECT_EQ(compared, 5u * 2 + 3u * 4 + 4u * 2);
}

std::int64_t count(const TensorMap& parameters) {
  std::int64_t total = 0;
  for (const auto& [name, tensor] : parameters) total += tensor.numel();
  return total;
}

TEST(SpgNetworks, HaveTheParametersOfTheRelease) {
  KeyedRandom random(1, "test");
  EXPECT_EQ(count(PromptGenerator(1024, 4, 512, random).parameters()), 2'936'704);
  EXPECT_EQ(count(PromptGenerator(512, 4, 512, random).parameters()), 2'871'168);
  EXPECT_EQ(count(PromptDiscriminator(1024, 4, 512, random).parameters()), 2'099'201);
  EXPECT_EQ(count(PromptDiscriminator(512, 4, 512, random).parameters()), 1'837'057);
}

TEST(SpgNetworks, StartHeUniform) {
  KeyedRandom random(1, "test");
  const PromptGenerator generator(512, 4, 512, random);
  for (const auto& [name, fan] : std::map<std::string, double>{{"0", 612}, {"2", 128}, {"5", 256}, {"11", 1024}}) {
    const double bound = std::sqrt(6 / fan);
    const Tensor weight = generator.parameters().at(name + ".weight").detach();
    EXPECT_LE(weight.abs().max().item<double>(), bound);
    EXPECT_NEAR(weight.std().item<double>(), bound / std::sqrt(3), 0.02 * bound);
    EXPECT_LE(generator.parameters().at(name + ".bias").detach().abs().max().item<double>(), 1 / std::sqrt(fan));
  }
}

TEST(SpgNetworks, GeneratedPromptsStayWithinOne) {
  Nets nets({});
  const Tensor noise = normal({64, PromptGenerator::kNoise}, 0, 3, nets.random);
  const Tensor features = normal({64, kFeatures}, 0, 3, nets.random);
  for (const bool training : {true, false}) {
    const Tensor prompts = nets.generator(noise, features, training).detach();
    EXPECT_EQ(prompts.sizes(), (std::vector<std::int64_t>{64, kLength, kWidth}));
    EXPECT_LT(prompts.abs().max().item<double>(), 1.0);
    EXPECT_GT(prompts.std().item<double>(), 0.01);
  }
}

TEST(SpgNetworks, ABatchOfOneImageIsRefused) {
  Nets nets({});
  EXPECT_THAT(
      [&] {
        nets.generator(at::zeros({1, PromptGenerator::kNoise}), at::zeros({1, kFeatures}), true);
      },
      ThrowsMessage<Error>(HasSubstr("at least 2 images a step, found 1")));
}

TEST(SpgNetworks, DropoutKeepsSixOfTenAndTheirSum) {
  KeyedRandom random(1, "test");
  const Tensor masks = dropout_masks(64, random);
  EXPECT_NEAR(masks.gt(0).to(at::kDouble).mean().item<double>(), 0.6, 0.01);
  EXPECT_NEAR(masks.mean().item<double>(), 1.0, 0.02);
}

TEST(SpgTraining, LossesOfADiscriminatorThatAlwaysSaysOne) {
  Nets nets({"optim.lr=0", "optim.warmup=none"});
  {
    const at::NoGradGuard no_gradients;
    for (const auto& [name, tensor] : nets.discriminator.parameters()) tensor.fill_(name == "8.bias" ? 1.0 : 0.0);
  }
  SpgBatch batch = nets.batch(0);
  for (Tensor* one : {&batch.prompts, &batch.features, &batch.other_features}) *one = one->to(at::kFloat);
  const SpgLosses losses = nets.training.step(batch, draw_iteration(kBatch, kBatch, nets.random));
  EXPECT_DOUBLE_EQ(losses.discriminator, 1.0);  // 0 on the learned, 1 on the generated prompts
  EXPECT_DOUBLE_EQ(losses.generator, 0.0);
  EXPECT_DOUBLE_EQ(losses.judged_learned, 1.0);
  EXPECT_DOUBLE_EQ(losses.judged_generated, 1.0);
}

TEST(SpgTraining, ClipsEveryTensorByItsOwnLimit) {
  const std::map<std::string, SpgClipping> presets = {{"default", {5, 5e-2, 5e-1, 5e-3, 1, 5e-8}},
                                                      {"pacs", {5, 5e-1, 5e-1, 5e-2, 5, 5e-7}}};
  for (const auto& [name, limits] : presets) {
    Nets nets({}, name), free({}, "none");
    for (Nets* one : {&nets, &free}) {
      one->become_hashed();
      one->discriminator.parameters().at("8.weight").detach().mul_(300);
      one->training.step(one->batch(0), Nets::draws(0));
    }
    const auto expect_limit = [&](const Tensor& clipped, const Tensor& unclipped, double limit, const std::string& of) {
      const double norm = clipped.grad().norm().item<double>(), before = unclipped.grad().norm().item<double>();
      const double expected = before > limit ? limit * before / (before + 1e-6) : before;
      EXPECT_NEAR(norm, expected, 1e-9 * expected) << of;
    };
    // The discriminator's update precedes the generator's gradient, so only its own gradients are the same in both.
    for (const auto& [place, tensor] : nets.discriminator.parameters()) {
      const bool outer = place.starts_with("0.") || place.starts_with("8.");
      const double limit =
          outer ? limits.judge_outer : (place.ends_with("weight") ? limits.judge_weight : limits.judge_bias);
      expect_limit(tensor, free.discriminator.parameters().at(place), limit, name + " discriminator " + place);
    }
    for (const auto& [place, tensor] : nets.generator.parameters()) {
      const double limit = place.ends_with("weight")                 ? limits.generator_weight
                           : place == "9.bias" || place == "11.bias" ? limits.generator_outer
                                                                     : limits.generator_bias;
      EXPECT_LE(tensor.grad().norm().item<double>(), limit) << name << " generator " << place;
      if (place.ends_with("weight")) EXPECT_GT(tensor.grad().norm().item<double>(), 0.99 * limit) << place;
    }
  }
  EXPECT_THAT([] { SpgClipping::named("office"); }, ThrowsMessage<UsageError>(HasSubstr("default, pacs or none")));
}

TEST(SpgTraining, OneIterationEqualsAnIndependentImplementationParity) {
  const TensorMap stored = load_tensors(std::string(ATTUNE_TEST_DATA) + "/spg.safetensors");
  Nets nets({"optim.warmup=none", "optim.lr=0.002"});
  nets.become_hashed();
  const SpgLosses losses = nets.training.step(nets.batch(0), Nets::draws(0));
  EXPECT_NEAR(losses.discriminator, stored.at("one.losses")[0][0].item<double>(), 1e-9);
  EXPECT_NEAR(losses.generator, stored.at("one.losses")[0][1].item<double>(), 1e-9);
  expect_state(nets, stored, "one", 1e-9);
}

TEST(SpgTraining, FiftyIterationsFollowAnIndependentImplementationParity) {
  const TensorMap stored = load_tensors(std::string(ATTUNE_TEST_DATA) + "/spg.safetensors");
  Nets nets({});
  nets.become_hashed();
  for (std::uint32_t i = 0; i < 50; ++i) {
    if (i % 5 == 0) nets.training.begin_epoch(static_cast<int>(i / 5));
    const SpgLosses losses = nets.training.step(nets.batch(i), Nets::draws(i));
    const Tensor expected = stored.at("fifty.losses")[i];
    EXPECT_NEAR(losses.discriminator, expected[0].item<double>(), 1e-6) << i;
    EXPECT_NEAR(losses.generator, expected[1].item<double>(), 1e-6) << i;
  }
  expect_state(nets, stored, "fifty", 1e-6);
}

/// In the precision of a run. Left out: biases whose effect the next layer's normalisation takes away, because their
/// gradients are rounding alone.
TEST(SpgTraining, OneIterationInSinglePrecisionEqualsItTooParity) {
  const TensorMap stored = load_tensors(std::string(ATTUNE_TEST_DATA) + "/spg.safetensors");
  Nets nets({"optim.warmup=none", "optim.lr=0.002"});
  nets.become_hashed();
  const auto to_float = [](const TensorMap& tensors) {
    for (const auto& [name, tensor] : tensors) tensor.set_data(tensor.detach().to(at::kFloat));
  };
  to_float(nets.generator.parameters());
  to_float(nets.discriminator.parameters());
  for (const auto& [name, tensor] : nets.generator.state()) {
    if (name.find("running") != std::string::npos) tensor.set_data(tensor.to(at::kFloat));
  }
  SpgBatch batch = nets.batch(0);
  SpgDraws draws = Nets::draws(0);
  for (Tensor* one : {&batch.prompts, &batch.features, &batch.other_features, &draws.noise, &draws.learned_masks,
                      &draws.generated_masks, &draws.generator_masks}) {
    *one = one->to(at::kFloat);
  }
  const SpgLosses losses = nets.training.step(batch, draws);
  EXPECT_NEAR(losses.discriminator, stored.at("one.losses")[0][0].item<double>(), 1e-5);
  EXPECT_NEAR(losses.generator, stored.at("one.losses")[0][1].item<double>(), 1e-5);
  for (const auto& [name, tensor] : nets.generator.state()) {
    if (name == "2.bias" || name == "5.bias" || name == "8.bias") continue;
    const Tensor flat = tensor.flatten().to(at::kDouble);
    const Tensor picked = flat.index_select(0, at::arange(kSampled).mul(flat.numel()).floor_divide(kSampled));
    const Tensor expected = stored.at("one.generator." + name).narrow(0, 0, kSampled);
    EXPECT_LT((picked - expected).abs().max().item<double>(), 1e-5) << name;
  }
}

TEST(SpgTraining, AResumedTrainingContinuesWithTheSameBits) {
  const auto iterate = [](Nets& nets, std::uint32_t first, std::uint32_t last) {
    for (std::uint32_t i = first; i < last; ++i) {
      SpgBatch batch = nets.batch(i);
      for (Tensor* one : {&batch.prompts, &batch.features, &batch.other_features}) *one = one->to(at::kFloat);
      KeyedRandom random(1, "iteration", i);
      nets.training.begin_epoch(static_cast<int>(i));
      nets.training.step(batch, draw_iteration(kBatch, kBatch, random));
    }
  };
  Nets whole({}), first({}), second({});
  iterate(whole, 0, 6);
  iterate(first, 0, 3);
  const auto copied = [](TensorMap state) {
    for (auto& [name, tensor] : state) tensor = tensor.clone();
    return state;
  };
  const at::NoGradGuard no_gradients;
  for (const auto& [name, tensor] : second.generator.state()) tensor.copy_(first.generator.state().at(name));
  second.training.load_state(copied(first.training.state()));
  {
    const at::AutoGradMode gradients(true);
    iterate(second, 3, 6);
  }
  for (const auto& [name, tensor] : whole.generator.state()) {
    EXPECT_TRUE(tensor.equal(second.generator.state().at(name))) << name;
  }
  for (const auto& [name, tensor] : whole.training.state()) {
    EXPECT_TRUE(tensor.equal(second.training.state().at(name))) << name;
  }
}

}  // namespace
}  // namespace attune

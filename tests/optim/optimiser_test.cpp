#include "attune/optim/optimiser.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr int kSteps = 6;

const TensorMap& expected() {
  static const TensorMap tensors = load_tensors(ATTUNE_TEST_DATA "/optimisers.safetensors");
  return tensors;
}

std::vector<ParameterGroup> start_groups(double weight_decay) {
  ParameterGroup group{{}, 1.0, weight_decay};
  for (const char* name : {"a", "b"}) {
    group.parameters.push_back({name, expected().at(std::string("start.") + name).clone().requires_grad_()});
  }
  return {group};
}

void set_gradients(Optimiser& optimiser, int step) {
  optimiser.zero_gradients();
  for (const Parameter& parameter : optimiser.groups()[0].parameters) {
    if (parameter.name == "b" && step == 1) continue;
    Tensor(parameter.value).mutable_grad() = expected().at(fmt::format("gradient.{}.{}", step, parameter.name)).clone();
  }
}

void expect_values(const Optimiser& optimiser, const std::string& name, int step) {
  for (const Parameter& parameter : optimiser.groups()[0].parameters) {
    const Tensor& wanted = expected().at(fmt::format("{}.{}.{}", name, step, parameter.name));
    EXPECT_TRUE(at::allclose(parameter.value.detach(), wanted, 1e-5, 1e-6))
        << name << ", step " << step << ", " << parameter.name;
  }
}

struct Case {
  std::string name;
  double weight_decay;
  std::function<std::unique_ptr<Optimiser>(std::vector<ParameterGroup>)> make;
};

std::vector<Case> cases() {
  const AdamOptions adam{.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-6, .decoupled = false};
  const AdamOptions adamw{.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-6, .decoupled = true};
  const auto sgd = [](SgdOptions options) {
    return [options](std::vector<ParameterGroup> groups) { return make_sgd(std::move(groups), options); };
  };
  return {
      {"sgd", 5e-4, sgd({})},
      {"sgd_nesterov", 0.01, sgd({.momentum = 0.8, .nesterov = true})},
      {"sgd_damped", 0.0, sgd({.momentum = 0.9, .dampening = 0.3})},
      {"sgd_plain", 0.1, sgd({.momentum = 0.0})},
      {"adam", 0.1, [=](std::vector<ParameterGroup> groups) { return make_adam(std::move(groups), adam); }},
      {"adamw", 0.1, [=](std::vector<ParameterGroup> groups) { return make_adam(std::move(groups), adamw); }},
  };
}

TEST(OptimiserParity, FollowsPyTorchStepByStep) {
  for (const Case& one : cases()) {
    const auto optimiser = one.make(start_groups(one.weight_decay));
    for (int step = 0; step < kSteps; ++step) {
      set_gradients(*optimiser, step);
      optimiser->step(0.1 / (step + 1));
      expect_values(*optimiser, one.name, step);
    }
  }
}

TEST(Optimiser, GoesOnFromItsStateWithTheSameBits) {
  for (const Case& one : cases()) {
    const auto whole = one.make(start_groups(one.weight_decay));
    auto groups = start_groups(one.weight_decay);
    auto part = one.make(groups);
    for (int step = 0; step < kSteps; ++step) {
      if (step == 3) {
        TensorMap state;
        for (const auto& [name, tensor] : part->state()) state[name] = tensor.clone();
        part = one.make(groups);
        part->load_state(state);
      }
      for (Optimiser* optimiser : {whole.get(), part.get()}) {
        set_gradients(*optimiser, step);
        optimiser->step(0.1);
      }
    }
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(whole->groups()[0].parameters[i].value.equal(part->groups()[0].parameters[i].value)) << one.name;
    }
  }
}

TEST(Optimiser, RefusesAStateThatDoesNotFit) {
  for (const Case& one : cases()) {
    const auto optimiser = one.make(start_groups(0.0));
    EXPECT_THROW(optimiser->load_state({{"c.momentum", at::zeros({1})}}), Error);
    EXPECT_THROW(optimiser->load_state({{"a.exp_avg", at::zeros({3, 5})}}), Error);
  }
  const auto sgd = make_sgd(start_groups(0.0), {});
  EXPECT_THROW(sgd->load_state({{"a.momentum", at::zeros({2, 5})}}), Error);
  EXPECT_THROW(make_sgd(start_groups(0.0), {.momentum = 0.0, .nesterov = true}), UsageError);
}

TEST(Optimiser, ScalesTheRateOfAGroup) {
  auto groups = start_groups(0.0);
  groups[0].learning_rate_factor = 0.5;
  const auto half = make_sgd(groups, {});
  const auto full = make_sgd(start_groups(0.0), {});
  for (Optimiser* optimiser : {half.get(), full.get()}) set_gradients(*optimiser, 0);
  half->step(0.2);
  full->step(0.1);
  EXPECT_TRUE(half->groups()[0].parameters[0].value.equal(full->groups()[0].parameters[0].value));
}

TEST(ClipGradientNorm, ParityWithPyTorch) {
  const auto optimiser = make_sgd(start_groups(0.0), {});
  set_gradients(*optimiser, 0);
  EXPECT_NEAR(clip_gradient_norm(optimiser->groups(), 1.5), expected().at("clip.norm").item<double>(), 1e-5);
  for (const Parameter& parameter : optimiser->groups()[0].parameters) {
    EXPECT_TRUE(at::allclose(parameter.value.grad(), expected().at("clip." + parameter.name), 1e-5, 1e-7));
  }
}

TEST(ClipGradientNorm, LeavesSmallGradientsAlone) {
  const auto optimiser = make_sgd(start_groups(0.0), {});
  set_gradients(*optimiser, 0);
  const double norm = clip_gradient_norm(optimiser->groups(), 1e6);
  EXPECT_GT(norm, 1.0);
  EXPECT_TRUE(optimiser->groups()[0].parameters[0].value.grad().equal(expected().at("gradient.0.a")));
}

TEST(CheckFinite, NamesTheTensorAndTheStep) {
  const auto optimiser = make_sgd(start_groups(0.0), {});
  set_gradients(*optimiser, 0);
  EXPECT_NO_THROW(check_finite(optimiser->groups(), 7));
  optimiser->groups()[0].parameters[1].value.grad()[2] = std::numeric_limits<float>::quiet_NaN();
  try {
    check_finite(optimiser->groups(), 7);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'b'"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("step 7"), std::string::npos) << error.what();
  }
}

TEST(CheckFinite, TakesLargeSumsForWhatTheyAre) {
  const Tensor value = at::full({4}, 3e38F).requires_grad_();
  EXPECT_NO_THROW(check_finite({{{{"large", value}}, 1.0, 0.0}}, 0));
}

TEST(ScheduleParity, FollowsPyTorchsCosine) {
  const Schedule schedule{.warmup = Schedule::Warmup::kNone, .base = 0.002, .epochs = 50};
  const Tensor& rates = expected().at("cosine");
  for (int epoch = 0; epoch <= 50; ++epoch) EXPECT_NEAR(schedule.at(epoch), rates[epoch].item<double>(), 1e-9);
}

TEST(Schedule, ConstantWarmUpThenCosineFromItsEnd) {
  const Schedule schedule{.base = 0.002, .warmup_rate = 1e-5, .warmup_epochs = 1, .epochs = 50};
  EXPECT_DOUBLE_EQ(schedule.at(0), 1e-5);
  EXPECT_DOUBLE_EQ(schedule.at(1), 0.002);
  EXPECT_DOUBLE_EQ(schedule.at(26), 0.001);
  EXPECT_NEAR(schedule.at(50), 0.001 * (1 + std::cos(M_PI * 49 / 50)), 1e-15);
}

TEST(Schedule, ACosineMayEndAboveZero) {
  const Schedule schedule{.warmup = Schedule::Warmup::kNone, .base = 0.002, .epochs = 50, .last = 1e-6};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.002);
  EXPECT_DOUBLE_EQ(schedule.at(25), 1e-6 + (0.002 - 1e-6) / 2);
  EXPECT_NEAR(schedule.at(50), 1e-6, 1e-18);
}

TEST(Schedule, LinearWarmUpStartsAtTheMinimum) {
  const Schedule schedule{
      .warmup = Schedule::Warmup::kLinear, .base = 0.01, .warmup_rate = 1e-5, .warmup_epochs = 4, .epochs = 20};
  EXPECT_DOUBLE_EQ(schedule.at(0), 1e-5);
  EXPECT_DOUBLE_EQ(schedule.at(1), 0.0025);
  EXPECT_DOUBLE_EQ(schedule.at(3), 0.0075);
  EXPECT_DOUBLE_EQ(schedule.at(4), 0.01);
  EXPECT_DOUBLE_EQ(schedule.at(14), 0.005);
}

TEST(Schedule, ConstantStaysAtItsBase) {
  const Schedule schedule{.kind = Schedule::Kind::kConstant, .base = 0.3, .warmup_epochs = 2};
  EXPECT_DOUBLE_EQ(schedule.at(1), 1e-5);
  EXPECT_DOUBLE_EQ(schedule.at(2), 0.3);
  EXPECT_DOUBLE_EQ(schedule.at(49), 0.3);
}

}  // namespace
}  // namespace attune

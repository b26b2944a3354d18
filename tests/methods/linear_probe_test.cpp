#include "attune/methods/linear_probe.h"

#include <limits>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/optim/lbfgs.h"
#include "tests/support/close.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::largest_difference;

const ClassNames kAnimals{{"dog", "cat", "owl", "fox", "bee"}};

std::unique_ptr<Classifier> make_probe(const std::vector<std::string>& assignments) {
  return make_small(linear_probe_method(), assignments, kAnimals);
}

const TensorMap& stored_probes() {
  static const TensorMap data = load_tensors(std::string(ATTUNE_TEST_DATA) + "/linear_probe.safetensors");
  return data;
}

/// Hands out all samples, once.
class WholeBatch final : public BatchSource {
 public:
  explicit WholeBatch(Tensor features = stored_probes().at("features")) : features_(std::move(features)) {}
  Batch next() override {
    EXPECT_FALSE(std::exchange(used_, true));
    return {features_, stored_probes().at("labels"), random_order(features_.size(0), 1, "names of the samples")};
  }

 private:
  Tensor features_;
  bool used_ = false;
};

Losses fit(Classifier& learner) {
  WholeBatch batch;
  return learner.stages({stored_probes().at("labels").size(0), 1})[0]->step(batch);
}

double loss_named(const Losses& losses, const std::string& name) {
  for (const auto& [key, value] : losses) {
    if (key == name) return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

TEST(LinearProbe, ReachesTheOptimumOfScikitLearnParity) {
  for (const char* features : {"raw", "unit"}) {
    for (const char* c : {"0.01", "0.316", "100.0"}) {
      const std::string name = std::string(c) + " " + features;
      const auto learner = make_probe(
          {"probe.c=" + std::string(c), std::string("probe.normalise=") + (name.ends_with("unit") ? "true" : "false")});
      EXPECT_EQ(loss_named(fit(*learner), "converged"), 1.0) << name;
      const Tensor found = learner->logits({stored_probes().at("queries"), {}, {}}).softmax(1);
      EXPECT_LT(largest_difference(found, stored_probes().at(name + " probabilities")), 1e-4) << name;
      const Tensor weight = stored_probes().at(name + " weight");
      EXPECT_LT(largest_difference(learner->state().at("weight"), weight), 1e-3 * weight.abs().max().item<double>());
    }
  }
}

TEST(LinearProbe, HasNoGradientWhereItStops) {
  for (const double c : {0.316, 100.0}) {
    const auto learner = make_probe({"probe.c=" + std::to_string(c)});
    fit(*learner);
    const Tensor weight = learner->state().at("weight").to(at::kDouble).requires_grad_(true);
    const Tensor bias = learner->state().at("bias").to(at::kDouble).requires_grad_(true);
    const Tensor logits = at::linear(stored_probes().at("features").to(at::kDouble), weight, bias);
    const Tensor labels = stored_probes().at("labels");
    const auto count = static_cast<double>(labels.size(0));
    (at::cross_entropy_loss(logits, labels) + weight.square().sum() / (2 * c * count)).backward();
    EXPECT_LT(weight.grad().abs().max().item<double>(), 2e-6) << c;
    EXPECT_LT(bias.grad().abs().max().item<double>(), 2e-6) << c;
  }
}

TEST(LinearProbe, ReachesTheSameOptimumFromAnyStart) {
  const auto from_zero = make_probe({});
  fit(*from_zero);
  KeyedRandom random(4, "start");
  const auto from_elsewhere = make_probe({});
  const Tensor weight = from_zero->state().at("weight");
  from_elsewhere->load_state({{"weight", normal(weight.sizes(), 0, 1, random)}, {"bias", normal({5}, 0, 1, random)}});
  fit(*from_elsewhere);
  EXPECT_LT(largest_difference(weight, from_elsewhere->state().at("weight")), 1e-4);
}

TEST(LinearProbe, FittedTwiceHasTheSameBits) {
  const auto one = make_probe({}), two = make_probe({});
  fit(*one);
  fit(*two);
  EXPECT_TRUE(one->state().at("weight").equal(two->state().at("weight")));
  EXPECT_TRUE(one->state().at("bias").equal(two->state().at("bias")));
}

TEST(LinearProbe, SaysThatItRanOutOfIterations) {
  const auto learner = make_probe({"probe.iterations=2", "probe.c=100"});
  const Losses losses = fit(*learner);
  EXPECT_EQ(loss_named(losses, "converged"), 0.0);
  EXPECT_EQ(loss_named(losses, "iterations"), 2.0);
}

TEST(LinearProbe, SearchesTheBestPenaltyOnValidation) {
  // Validation of shuffled labels is best served by a probe that hardly fits, the training samples by one that does.
  const auto search = [](const Tensor& labels, Classifier& learner) {
    WholeBatch batch;
    const Batch validation{stored_probes().at("features"), labels, {}};
    const auto stages = learner.stages({labels.size(0), 1, [validation] { return validation; }});
    return loss_named(stages[0]->step(batch), "c");
  };
  const Tensor labels = stored_probes().at("labels");
  const auto learner = make_probe({"probe.search=true"}), plain = make_probe({});
  const double c = search(labels, *learner);
  fit(*plain);
  const auto correct = [&](Classifier& one) {
    return one.logits({stored_probes().at("features"), labels, {}}).argmax(1).eq(labels).sum().item<std::int64_t>();
  };
  EXPECT_GE(correct(*learner), correct(*plain));
  const auto again = make_probe({"probe.c=" + std::to_string(c)});
  fit(*again);
  EXPECT_LT(largest_difference(learner->state().at("weight"), again->state().at("weight")), 1e-3);

  const Tensor most = at::full_like(labels, labels.bincount().argmax().item<std::int64_t>());
  EXPECT_LT(search(most, *make_probe({"probe.search=true"})), c);
  EXPECT_THROW(make_probe({"probe.search=true"})->stages({60, 1}), UsageError);
}

TEST(LinearProbe, AsksForAllSamplesInOneBatchOfOneEpoch) {
  const auto learner = make_probe({});
  const auto stages = learner->stages({123, 1});
  ASSERT_EQ(stages.size(), 1u);
  EXPECT_EQ(stages[0]->batch_size(), 123);
  EXPECT_EQ(stages[0]->epochs(), 1);
  EXPECT_GE(learner->stages({0, 1})[0]->batch_size(), 1);
}

TEST(LinearProbe, RefusesOtherClasses) {
  const auto learner = make_probe({});
  EXPECT_FALSE(learner->open_vocabulary());
  learner->set_classes(kAnimals);
  EXPECT_THAT(
      [&] {
        learner->set_classes({{"dog", "cat"}});
      },
      ThrowsMessage<UsageError>(AllOf(HasSubstr("5 classes"), HasSubstr("found 2"))));
  EXPECT_THAT(
      [&] {
        learner->set_classes({{"dog", "cat", "owl", "bee", "fox"}});
      },
      ThrowsMessage<UsageError>(HasSubstr("\"bee\" in the place of \"fox\"")));
}

TEST(LinearProbe, NamesASampleWhoseFeaturesAreNotFinite) {
  for (const double broken : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Tensor features = stored_probes().at("features").clone();
    features[7][3] = broken;
    const auto learner = make_probe({});
    const auto samples = WholeBatch(features).next().samples;
    WholeBatch batch(features);
    EXPECT_THAT(
        [&] {
          learner->stages({60, 1})[0]->step(batch);
        },
        ThrowsMessage<Error>(HasSubstr("first sample " + std::to_string(samples[7]))));
    EXPECT_EQ(learner->state().at("weight").abs().max().item<double>(), 0.0);
  }
  WholeBatch empty_rows(at::zeros_like(stored_probes().at("features")));
  EXPECT_THAT(
      [&] {
        make_probe({"probe.normalise=true"})->stages({60, 1})[0]->step(empty_rows);
      },
      ThrowsMessage<Error>(HasSubstr("found 60")));
}

TEST(LinearProbe, RefusesSettingsThatMeanNothing) {
  for (const char* wrong : {"probe.c=0", "probe.c=-1", "probe.c=.nan", "probe.c=.inf"}) {
    EXPECT_THAT([&] { make_probe({wrong}); }, ThrowsMessage<UsageError>(HasSubstr("probe.c"))) << wrong;
  }
  EXPECT_THAT([] { make_probe({"probe.iterations=0"}); }, ThrowsMessage<UsageError>(HasSubstr("probe.iterations")));
}

TEST(LinearProbe, RefusesAStateOfAnotherShape) {
  const auto learner = make_probe({});
  EXPECT_THAT(
      [&] {
        learner->load_state({{"bias", at::zeros({5})}, {"weight", at::zeros({4, 8})}});
      },
      ThrowsMessage<Error>(HasSubstr("[4, 8]")));
}

TEST(Lbfgs, FindsTheEndOfRosenbrocksValley) {
  const auto valley = [](const Tensor& point) -> std::pair<double, Tensor> {
    const double x = point[0].item<double>(), y = point[1].item<double>();
    const double rise = y - x * x;
    const std::vector<double> slopes = {-2 * (1 - x) - 400 * x * rise, 200 * rise};
    return {(1 - x) * (1 - x) + 100 * rise * rise, at::tensor(slopes, at::kDouble)};
  };
  const Tensor start = at::tensor({-1.2, 1.0}, at::kDouble);
  const LbfgsResult found = minimise_lbfgs(valley, start, {.tolerance = 1e-9});
  EXPECT_TRUE(found.converged);
  EXPECT_LT(found.iterations, 60);
  EXPECT_LT(largest_difference(found.point, at::ones({2}, at::kDouble)), 1e-8);
}

TEST(Lbfgs, StepsBackFromWhereTheValueIsNotFinite) {
  // -log(x) + 50 x is infinite left of zero; its minimum lies at 0.02, far closer to zero than the first steps.
  const auto barrier = [](const Tensor& point) -> std::pair<double, Tensor> {
    return {(50 * point - point.log()).sum().item<double>(), 50 - 1 / point};
  };
  const LbfgsResult found = minimise_lbfgs(barrier, at::ones({1}, at::kDouble), {});
  EXPECT_TRUE(found.converged);
  EXPECT_NEAR(found.point.item<double>(), 0.02, 1e-8);
  EXPECT_THAT([&] { minimise_lbfgs(barrier, -at::ones({1}, at::kDouble), {}); },
              ThrowsMessage<Error>(HasSubstr("finite start")));
}

}  // namespace
}  // namespace attune

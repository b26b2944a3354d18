#include "attune/methods/tip_adapter.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/log.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const ClassNames& classes() {
  static const ClassNames names = RecordedSteps("tip_adapter_f").classes;
  return names;
}

const TensorMap& stored_caches() {
  static const TensorMap data = load_tensors(std::string(ATTUNE_TEST_DATA) + "/tip_adapter.safetensors");
  return data;
}

Batch validation() {
  return {stored_caches().at("validation"), stored_caches().at("validation_labels"), {}};
}

/// All pictures in one batch in an order of its own, in another view each time.
class Views final : public BatchSource {
 public:
  explicit Views(std::int64_t first = 0) : view_(first) {}
  Batch next() override {
    const std::vector<std::int64_t> order = random_order(15, 1, "views", static_cast<std::uint64_t>(view_));
    const Tensor index = at::tensor(order, at::kLong);
    return {stored_caches().at("views")[view_++].index_select(0, index),
            stored_caches().at("labels").index_select(0, index), order};
  }

 private:
  std::int64_t view_;
};

void train(Stage& stage, int first, int last) {
  Views views(first);
  for (int epoch = first; epoch < last; ++epoch) {
    stage.begin_epoch(epoch);
    stage.step(views);
    stage.end_epoch(epoch);
  }
}

void train(const Stages& stages) {
  for (const auto& stage : stages) train(*stage, 0, stage->epochs());
}

const TrainingData kWithout{15, 1, nullptr, {}};
const TrainingData kWith{15, 1, validation, {}};

TEST(TipAdapter, CacheAndLogitsAreThoseOfAnIndependentImplementationParity) {
  const auto learner = make_small(tip_adapter_method(), {"tip.views=4"}, classes());
  const Stages stages = learner->stages(kWithout);
  ASSERT_EQ(stages.size(), 1u);
  train(stages);
  EXPECT_LT(largest_difference(learner->state().at("keys"), stored_caches().at("keys")), 1e-6);
  EXPECT_TRUE(learner->state().at("labels").equal(stored_caches().at("labels")));
  EXPECT_LT(largest_difference(learner->logits(validation()), stored_caches().at("logits")), 1e-4);
}

TEST(TipAdapter, TheGridFindsWhatAnIndependentSearchFindsParity) {
  const auto learner =
      make_small(tip_adapter_method(), {"tip.views=4", "tip.beta_scale=12", "tip.alpha_scale=50"}, classes());
  const Stages stages = learner->stages(kWith);
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[1]->name(), "search");
  train(*stages[0], 0, 4);
  Views none;
  const Losses found = stages[1]->step(none);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(found.at(static_cast<std::size_t>(i + 1)).second, stored_caches().at("found")[i].item<double>(), 1e-9);
  }
  EXPECT_LT(largest_difference(learner->logits(validation()), stored_caches().at("found_logits")), 1e-4);
}

TEST(TipAdapter, TheGridHasThePublishedValues) {
  const std::vector<double> values = search_values(7, 200);
  ASSERT_EQ(values.size(), 200u);
  EXPECT_DOUBLE_EQ(values.front(), 0.1);
  EXPECT_DOUBLE_EQ(values[1], 0.1 + 6.9 / 200);
  EXPECT_DOUBLE_EQ(values.back(), 0.1 + 199 * 6.9 / 200);
}

TEST(TipAdapter, WithoutValidationSamplesKeepsItsStartAndSaysSo) {
  std::string said;
  set_log_sink([&](Severity, std::string_view text) { said += text; });
  const auto learner = make_small(tip_adapter_method(), {"tip.alpha=2.5"}, classes());
  const Stages stages = learner->stages(kWithout);
  set_log_sink({});
  EXPECT_EQ(stages.size(), 1u);
  EXPECT_THAT(said, AllOf(HasSubstr("tip_adapter"), HasSubstr("no validation samples"), HasSubstr("2.5")));
  EXPECT_EQ(make_small(tip_adapter_method(), {"tip.search=false"}, classes())->stages(kWith).size(), 1u);
}

TEST(TipAdapter, AnEmptyCacheIsZeroShot) {
  const auto learner = make_small(tip_adapter_method(), {}, classes());
  const auto zero_shot = make_small(zero_shot_method(), {}, classes());
  EXPECT_LT(largest_difference(learner->logits(small_batch(4)), zero_shot->logits(small_batch(4))), 1e-4);
}

TEST(TipAdapter, ACacheThatIsResumedBetweenViewsHasTheSameBits) {
  const auto whole = make_small(tip_adapter_method(), {"tip.views=4"}, classes());
  train(*whole->stages(kWithout)[0], 0, 4);
  const auto first = make_small(tip_adapter_method(), {"tip.views=4"}, classes());
  const Stages begun = first->stages(kWithout);
  train(*begun[0], 0, 2);
  const auto second = make_small(tip_adapter_method(), {"tip.views=4"}, classes());
  const Stages stages = second->stages(kWithout);
  second->load_state(copied(first->state()));
  stages[0]->load_state(copied(begun[0]->state()));
  train(*stages[0], 2, 4);
  for (const auto& [name, tensor] : whole->state()) EXPECT_TRUE(tensor.equal(second->state().at(name))) << name;
}

TEST(TipAdapter, ComesBackFromDiskWhateverItsCacheHolds) {
  const auto learner = make_small(tip_adapter_method(), {"tip.views=4"}, classes());
  train(learner->stages(kWith));
  expect_same_from_disk(tip_adapter_method(), {"tip.views=4"}, classes(), *learner, validation());
  expect_independent_rows(*learner, small_batch(5));
}

TEST(TipAdapter, RefusesOtherClassesAndLabelsThatAreNone) {
  const auto learner = make_small(tip_adapter_method(), {}, classes());
  learner->set_classes(classes());
  EXPECT_FALSE(learner->open_vocabulary());
  EXPECT_THAT([&] { learner->set_classes({{"fox"}}); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("tip_adapter"), HasSubstr("5 classes"))));
  TensorMap state = {{"keys", at::zeros({2, 24})}, {"labels", at::tensor({0, 5}, at::kLong)}};
  state["alpha_beta"] = at::ones({2}, at::kDouble);
  EXPECT_THAT([&] { learner->load_state(state); }, ThrowsMessage<Error>(HasSubstr("labels")));
  state["labels"] = at::tensor({0}, at::kLong);
  EXPECT_THAT([&] { learner->load_state(state); }, ThrowsMessage<Error>(HasSubstr("labels")));
  state["labels"] = at::tensor({0, 1}, at::kLong);
  state["keys"] = at::zeros({std::int64_t{1} << 40, 0});
  EXPECT_THAT([&] { learner->load_state(state); }, ThrowsMessage<Error>(HasSubstr("keys")));
  EXPECT_THAT([&] { make_small(tip_adapter_method(), {"tip.beta=0"}, classes()); },
              ThrowsMessage<UsageError>(HasSubstr("tip.beta")));
}

const std::vector<std::string> kLearned = {"tip.alpha=5", "tip.beta=1.5", "epochs=3", "batch_size=4", "optim.lr=0.01"};

std::unique_ptr<Classifier> make_learned(const RecordedSteps& recorded) {
  auto learner = make_small(tip_adapter_f_method(), kLearned, recorded.classes);
  learner->load_state(recorded.start);
  return learner;
}

TEST(TipAdapterF, TwelveStepsFollowAnIndependentImplementationParity) {
  const RecordedSteps recorded("tip_adapter_f");
  const auto learner =
      make_small(tip_adapter_f_method(), {"tip.alpha=5", "tip.beta=1.5", "epochs=4", "batch_size=5", "optim.lr=0.01"},
                 recorded.classes);
  const Stages stages = learner->stages(recorded.training());
  learner->load_state(recorded.start);
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[1]->name(), "keys");
  expect_recorded_steps(*learner, *stages[1], recorded, 3, 2e-5);
}

TEST(TipAdapterF, SearchesAfterItHasLearned) {
  const auto learner = make_small(tip_adapter_f_method(), kLearned, classes());
  const Stages stages = learner->stages(kWith);
  ASSERT_EQ(stages.size(), 3u);
  EXPECT_EQ(stages[2]->name(), "search");
}

TEST(TipAdapterF, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  const RecordedSteps recorded("tip_adapter_f");
  const auto make = [&] {
    auto learner = make_learned(recorded);
    learner->load_state(recorded.start);
    return learner;
  };
  expect_resumed_bits(make, recorded, 4, 1);
}

}  // namespace
}  // namespace attune

#include "attune/methods/kgcoop.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/coop.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kKgCoOp = {"context.init=a b c d", "epochs=5", "optim.lr=0.02"};

std::unique_ptr<Classifier> make_kgcoop(const RecordedSteps& recorded, const std::vector<std::string>& more = {}) {
  std::vector<std::string> settings = kKgCoOp;
  settings.insert(settings.end(), more.begin(), more.end());
  auto learner = make_small(kgcoop_method(), settings, recorded.classes);
  learner->load_state(recorded.start);
  return learner;
}

TEST(KgCoOp, TwentyStepsFollowAnIndependentImplementationParity) {
  const RecordedSteps recorded("kgcoop");
  const auto learner = make_kgcoop(recorded);
  const Stages stages = learner->stages(recorded.training());
  ASSERT_EQ(stages.size(), 1u);
  expect_recorded_steps(*learner, *stages[0], recorded, 4, 2e-5);
}

TEST(KgCoOp, WithoutItsWeightIsCoOp) {
  const RecordedSteps recorded("kgcoop");
  const auto learner = make_kgcoop(recorded, {"kgcoop.weight=0"});
  const auto coop = make_small(coop_method(), kKgCoOp, recorded.classes);
  coop->load_state(recorded.start);
  take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 6);
  take_steps(*coop->stages(recorded.training())[0], recorded, 4, 0, 6);
  EXPECT_LT(largest_difference(learner->state().at("context"), coop->state().at("context")), 1e-6);
}

TEST(KgCoOp, StaysNearerToTheSentencesThanCoOp) {
  const RecordedSteps recorded("kgcoop");
  const auto distance = [&](const char* weight) {
    const auto learner = make_kgcoop(recorded, {weight, "optim.warmup=none"});
    return take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 20).back().at(3).second;
  };
  EXPECT_LT(distance("kgcoop.weight=8"), 0.8 * distance("kgcoop.weight=0"));
}

TEST(KgCoOp, StartsAtTheDistanceZeroFromItsOwnWords) {
  const RecordedSteps recorded("kgcoop");
  const auto learner = make_small(kgcoop_method(), {"templates=a photo of a {}."}, recorded.classes);
  const Losses losses = take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 1)[0];
  EXPECT_EQ(losses[3].first, "distance");
  EXPECT_NEAR(losses[3].second, 0, 1e-5);
  EXPECT_NEAR(losses[0].second, losses[2].second, 1e-4);
}

TEST(KgCoOp, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  const RecordedSteps recorded("kgcoop");
  expect_resumed_bits([&] { return make_kgcoop(recorded); }, recorded, 4);
}

TEST(KgCoOp, NamesNewClassesAndComesBackFromDisk) {
  const RecordedSteps recorded("kgcoop");
  const auto learner = make_kgcoop(recorded);
  take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 8);
  expect_same_from_disk(kgcoop_method(), kKgCoOp, recorded.classes, *learner, recorded.whole());
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"fox", "bee"}});
  EXPECT_EQ(learner->logits(small_batch(3)).size(1), 2);
  expect_independent_rows(*learner, small_batch(3));
}

TEST(KgCoOp, RefusesANegativeWeight) {
  EXPECT_THAT([] { make_small(kgcoop_method(), {"kgcoop.weight=-1"}, {{"dog"}}); },
              ThrowsMessage<UsageError>(HasSubstr("kgcoop.weight")));
}

}  // namespace
}  // namespace attune

#include "attune/methods/clip_adapter.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kClipAdapter = {"clip_adapter.ratio=0.3", "epochs=5", "optim.lr=0.02"};

std::unique_ptr<Classifier> make_clip_adapter(const RecordedSteps& recorded) {
  auto learner = make_small(clip_adapter_method(), kClipAdapter, recorded.classes);
  learner->load_state(recorded.start);
  return learner;
}

TEST(ClipAdapter, TwentyStepsFollowAnIndependentImplementationParity) {
  const RecordedSteps recorded("clip_adapter");
  const auto learner = make_clip_adapter(recorded);
  const Stages stages = learner->stages(recorded.training());
  ASSERT_EQ(stages.size(), 1u);
  expect_recorded_steps(*learner, *stages[0], recorded, 4, 2e-5);
}

TEST(ClipAdapter, WithoutItsShareIsZeroShot) {
  const RecordedSteps recorded("clip_adapter");
  const auto learner = make_small(clip_adapter_method(), {"clip_adapter.ratio=0"}, recorded.classes);
  const auto zero_shot = make_small(zero_shot_method(), {}, recorded.classes);
  EXPECT_LT(largest_difference(learner->logits(recorded.whole()), zero_shot->logits(recorded.whole())), 1e-4);
}

TEST(ClipAdapter, AdaptsTheFeatureAsItIsAndNotItsDirection) {
  const RecordedSteps recorded("clip_adapter");
  const auto learner = make_clip_adapter(recorded);
  Batch longer = small_batch(4);
  longer.image_features = longer.image_features * 7;
  // Without biases the network is homogeneous, so only a normalised feature in front of the residual would differ.
  EXPECT_LT(largest_difference(learner->logits(longer), learner->logits(small_batch(4))), 1e-4);
}

TEST(ClipAdapter, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  const RecordedSteps recorded("clip_adapter");
  expect_resumed_bits([&] { return make_clip_adapter(recorded); }, recorded, 4);
}

TEST(ClipAdapter, NamesNewClassesAndComesBackFromDisk) {
  const RecordedSteps recorded("clip_adapter");
  const auto learner = make_clip_adapter(recorded);
  take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 8);
  expect_same_from_disk(clip_adapter_method(), kClipAdapter, recorded.classes, *learner, recorded.whole());
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"fox", "bee"}});
  EXPECT_EQ(learner->logits(small_batch(3)).size(1), 2);
  expect_independent_rows(*learner, small_batch(3));
}

TEST(ClipAdapter, TheSeedMakesTheStart) {
  const ClassNames classes{{"dog"}};
  const Config config(clip_adapter_method().schema);
  const auto start = [&](std::uint64_t seed) {
    return clip_adapter_method().make(small_model(), classes, config, seed)->state().at("down");
  };
  EXPECT_TRUE(start(1).equal(start(1)));
  EXPECT_FALSE(start(1).equal(start(2)));
  EXPECT_EQ(start(1).sizes(), (std::vector<std::int64_t>{6, 24}));
  EXPECT_LE(start(1).abs().max().item<double>(), 1 / std::sqrt(24.0));
}

TEST(ClipAdapter, RefusesSettingsOutOfRange) {
  for (const char* setting : {"clip_adapter.ratio=1.5", "clip_adapter.reduction=0", "clip_adapter.reduction=25"}) {
    const std::string key = std::string(setting).substr(0, std::string(setting).find('='));
    EXPECT_THAT([&] { make_small(clip_adapter_method(), {setting}, {{"dog"}}); },
                ThrowsMessage<UsageError>(HasSubstr(key)));
  }
}

}  // namespace
}  // namespace attune

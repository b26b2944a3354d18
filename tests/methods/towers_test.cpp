// The methods that learn tokens, deltas or pixels of the towers.
#include <cmath>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/clip_lora.h"
#include "attune/methods/prompted_towers.h"
#include "attune/methods/promptsrc.h"
#include "attune/methods/visual_prompt.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::DoubleNear;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<RecordedCase> tower_cases() {
  const std::vector<std::string> common = {"epochs=3", "optim.lr=0.02"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), common.begin(), common.end());
    return more;
  };
  return {
      {"maple", maple_method(), with({"text.depth=2"})},
      {"ivlp", ivlp_method(), with({})},
      {"vpt", vpt_method(), with({"vision.tokens=3", "vision.place=after_class"})},
      {"deep_text", deep_text_method(), with({})},
      {"promptsrc", promptsrc_method(), with({"teacher=best7", "average.mean=2", "average.deviation=1.5"})},
      {"visual_prompt", visual_prompt_method(), with({"prompt.shape=padding", "prompt.size=5"})},
      {"clip_lora", clip_lora_method(), {"lora.dropout=0", "optim.lr=0.002", "iterations=12", "batch_size=4"}},
  };
}

class TowerMethods : public RecordedMethods {
 protected:
  TowerMethods() : RecordedMethods("towers") {}
};

TEST_P(TowerMethods, TwelveStepsFollowAnIndependentImplementationParity) {
  const auto learner = make();
  const Stages stages = learner->stages(recorded_.training());
  ASSERT_EQ(stages.size(), 1u);
  EXPECT_EQ(stages[0]->epochs(), 3);
  expect_recorded_steps(*learner, *stages[0], recorded_, 4, 1e-4);
}

TEST_P(TowerMethods, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  expect_resumed_bits([&] { return make(); }, recorded_, 4);
}

TEST_P(TowerMethods, NamesNewClassesAndComesBackFromDisk) {
  const auto learner = make();
  take_steps(*learner->stages(recorded_.training())[0], recorded_, 4, 0, 2);
  expect_same_from_disk(GetParam().method, GetParam().settings, recorded_.classes, *learner, recorded_.whole());
  expect_independent_rows(*learner, recorded_.whole());
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"fox", "bee"}});
  EXPECT_EQ(learner->logits(recorded_.whole()).size(1), 2);
}

INSTANTIATE_TEST_SUITE_P(All, TowerMethods, testing::ValuesIn(tower_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(ClipLora, StartsAsTheModelItselfAndDropsOutOnlyInTraining) {
  const RecordedSteps recorded("clip_lora", "towers");
  const auto learner = make_small(clip_lora_method(), {"iterations=4"}, recorded.classes);
  const Tensor expected = make_small(zero_shot_method(), {}, recorded.classes)->logits(recorded.whole());
  EXPECT_LT(largest_difference(learner->logits(recorded.whole()), expected), 1e-4);
  learner->load_state(recorded.start);
  EXPECT_TRUE(learner->logits(recorded.whole()).equal(learner->logits(recorded.whole())));
  const auto loss = [&](const char* dropout) {
    const auto other = make_small(clip_lora_method(), {"iterations=4", dropout}, recorded.classes);
    other->load_state(recorded.start);
    return take_steps(*other->stages(recorded.training())[0], recorded, 4, 0, 1)[0][0].second;
  };
  EXPECT_NE(loss("lora.dropout=0"), loss("lora.dropout=0.25"));
}

TEST(ClipLora, StepsAreFiveHundredAShotUnlessTheyAreGiven) {
  const auto steps_of = [](std::vector<std::string> settings, std::int64_t samples) {
    const auto learner = make_small(clip_lora_method(), settings, {{"dog", "cat"}});
    const auto stages = learner->stages({samples, 1});
    return stages[0]->epochs() * std::max<std::int64_t>(1, samples / stages[0]->batch_size());
  };
  EXPECT_EQ(steps_of({"batch_size=4"}, 8), 2000);
  EXPECT_EQ(steps_of({"batch_size=3", "iterations=7"}, 8), 8) << "whole epochs";
}

TEST(PromptSrc, WeightsOfTheEpochsSumToOneAndPeakAtTheirMean) {
  const std::vector<double> weights = epoch_weights(20, 15, 1);
  double sum = 0;
  for (const double weight : weights) sum += weight;
  EXPECT_THAT(sum, DoubleNear(1, 1e-12));
  EXPECT_EQ(std::max_element(weights.begin(), weights.end()) - weights.begin(), 14);
  EXPECT_NEAR(weights[13] / weights[14], std::exp(-0.5), 1e-12);
  EXPECT_NEAR(epoch_weights(3, 1000, 1)[2], 1, 1e-12) << "a mean behind the last epoch";
}

TEST(VisualPrompt, APatchStandsWhereThePicturesContentSays) {
  const ClassNames classes{{"dog", "cat", "owl"}};
  const auto learner = make_small(visual_prompt_method(), {"prompt.size=4"}, classes);
  const RecordedSteps recorded("visual_prompt", "towers");
  Batch batch = recorded.whole();
  const Tensor once = learner->logits(batch);
  EXPECT_TRUE(once.equal(learner->logits(batch)));
  for (std::uint64_t& key : batch.content) key += 100;
  EXPECT_GT(largest_difference(once, learner->logits(batch)), 1e-3);
  Tensor pixels = learner->state().at("pixels");
  pixels.zero_();
  const Tensor expected = make_small(zero_shot_method(), {}, classes)->logits(batch);
  EXPECT_LT(largest_difference(learner->logits(batch), expected), 1e-4);
}

TEST(TowerPrompts, WrongSettingsAreRefusedByName) {
  const auto expect_refused = [](const Method& method, const char* setting, const char* text) {
    EXPECT_THAT([&] { make_small(method, {setting}, {{"dog"}}); }, ThrowsMessage<UsageError>(HasSubstr(text)));
  };
  expect_refused(maple_method(), "vision.tokens=3", "text.tokens (2)");
  expect_refused(vpt_method(), "vision.tokens=0", "learned tokens");
  expect_refused(ivlp_method(), "vision.place=front", "vision.place");
  expect_refused(promptsrc_method(), "text.tokens=-1", "text.tokens");
  expect_refused(visual_prompt_method(), "prompt.size=40", "prompt.size");
  expect_refused(visual_prompt_method(), "prompt.shape=circle", "prompt.shape");
  expect_refused(clip_lora_method(), "lora.projections=x", "lora.projections");
  expect_refused(clip_lora_method(), "lora.towers=none", "lora.towers");
}

}  // namespace
}  // namespace attune

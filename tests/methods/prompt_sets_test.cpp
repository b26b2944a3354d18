#include "attune/methods/prompt_sets.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/coop.h"
#include "tests/methods/recorded_steps.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;

RecordedCase dual_pt_with(const std::string& loss, const std::string& weight) {
  return {"dual_pt_" + loss,
          dual_pt_method(),
          {"prompts=3", "context.length=2", "epochs=3", "optim.lr=0.05", "text.loss=" + loss, "loss.text=" + weight,
           "descriptions=" + (kData / "descriptions.json").string()}};
}

std::vector<RecordedCase> prompt_set_cases() {
  return {{"plot",
           plot_method(),
           {"prompts=3", "context.length=2", "epochs=3", "optim.lr=0.05", "transport.stop_together=true"}},
          dual_pt_with("ot", "1"),
          dual_pt_with("cosine", "8"),
          dual_pt_with("kl", "1"),
          dual_pt_with("contrast", "1")};
}

class PromptSetMethods : public RecordedMethods {
 protected:
  PromptSetMethods() : RecordedMethods("prompt_sets") {}
};

TEST_P(PromptSetMethods, TwelveStepsFollowAnIndependentImplementationParity) {
  const auto learner = make();
  const Stages stages = learner->stages(recorded_.training());
  ASSERT_EQ(stages.size(), 1u);
  expect_recorded_steps(*learner, *stages[0], recorded_, 4, 5e-5);
}

TEST_P(PromptSetMethods, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  expect_resumed_bits([&] { return make(); }, recorded_, 4);
}

TEST_P(PromptSetMethods, NamesNewClassesAndComesBackFromDisk) {
  const auto learner = make();
  take_steps(*learner->stages(recorded_.training())[0], recorded_, 4, 0, 2);
  expect_same_from_disk(GetParam().method, GetParam().settings, recorded_.classes, *learner, recorded_.whole());
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"fox", "bee"}});
  EXPECT_EQ(learner->logits(recorded_.whole()).size(1), 2);
}

INSTANTIATE_TEST_SUITE_P(All, PromptSetMethods, testing::ValuesIn(prompt_set_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(PromptSets, OnePromptAndNoCellsIsCoOp) {
  const RecordedSteps recorded("plot", "prompt_sets");
  const std::vector<std::string> common = {"context.length=2", "epochs=3", "batch_size=4"};
  std::vector<std::string> own = common;
  for (const char* one : {"prompts=1", "answer.local=0", "loss.local=0", "loss.text=0"}) own.emplace_back(one);
  const auto learner = make_small(dual_pt_method(), own, recorded.classes);
  EXPECT_FALSE(learner->needs().local_features);
  const auto coop = make_small(coop_method(), common, recorded.classes);
  learner->load_state({{"contexts", coop->state().at("context").unsqueeze(0)}});
  take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 6);
  take_steps(*coop->stages(recorded.training())[0], recorded, 4, 0, 6);
  EXPECT_LT(largest_difference(learner->state().at("contexts")[0], coop->state().at("context")), 1e-5);
  EXPECT_LT(largest_difference(learner->logits(recorded.whole()), coop->logits(recorded.whole())), 1e-3);
}

TEST(PromptSets, AnAnswerDependsOnItsOwnPictureOnlyAndNoPromptStartsLikeAnother) {
  const RecordedSteps recorded("plot", "prompt_sets");
  const auto learner = make_small(dual_pt_method(), {"context.init=a photo of a"}, recorded.classes);
  expect_independent_rows(*learner, recorded.whole());
  const Tensor contexts = learner->state().at("contexts");
  EXPECT_GT(largest_difference(contexts[0], contexts[1]), 1e-3);
  EXPECT_GT(largest_difference(contexts[2], contexts[1]), 1e-3);
}

TEST(PromptSets, ThePlanOfAPicturesCellsSumsToOneAndPromptsShareItEvenly) {
  const RecordedSteps recorded("plot", "prompt_sets");
  const auto learner = make_small(plot_method(), {"prompts=3", "context.length=2"}, recorded.classes);
  const Tensor plan = dynamic_cast<TransportsCells&>(*learner).cell_plan(recorded.whole(), 2);
  ASSERT_EQ(plan.sizes(), (std::vector<std::int64_t>{16, 9, 3}));
  EXPECT_LT(largest_difference(plan.sum(1), at::full({16, 3}, 1.0 / 3)), 1e-6);
}

TEST(PromptSets, WrongSettingsAreRefusedByName) {
  const auto expect_refused = [](const char* setting, const char* text) {
    EXPECT_THAT([&] { make_small(dual_pt_method(), {setting}, {{"dog"}}); },
                ThrowsMessage<UsageError>(HasSubstr(text)));
  };
  expect_refused("prompts=0", "prompts");
  expect_refused("text.loss=l2", "text.loss");
  expect_refused("transport.epsilon=0.001", "transport.epsilon");
  expect_refused("loss.text=-1", "loss.text");
  expect_refused("descriptions.form=poem", "descriptions.form");
  expect_refused("cells.attention=keys", "cells.attention");
  expect_refused("context.class_specific=true", "dual_pt");
  const auto learner = make_small(dual_pt_method(), {"descriptions=/no/such/file.json"}, {{"dog"}});
  EXPECT_THAT([&] { learner->stages({4, 1}); }, ThrowsMessage<Error>(HasSubstr("/no/such/file.json")));
}

}  // namespace
}  // namespace attune

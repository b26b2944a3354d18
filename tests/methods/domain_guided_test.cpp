#include "attune/methods/domain_guided.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<RecordedCase> cases() {
  const auto with = [](std::vector<std::string> more) {
    for (const char* one : {"epochs=3", "optim.lr=0.01", "depth=2", "noise.train=false", "noise.test=none"}) {
      more.emplace_back(one);
    }
    return more;
  };
  return {{"dcpl", dcpl_method(), with({})},
          {"dplq", dplq_method(), with({})},
          {"dplq_concat", dplq_method(), with({"quaternion.input=concat"})},
          {"gdpl", gdpl_method(), with({"lora.depth=2"})}};
}

class DomainGuidedMethods : public RecordedMethods {
 protected:
  DomainGuidedMethods() : RecordedMethods("towers") {}
};

TEST_P(DomainGuidedMethods, TwelveStepsFollowAnIndependentImplementationParity) {
  const auto learner = make();
  const Stages stages = learner->stages(recorded_.training());
  ASSERT_EQ(stages.size(), 1u);
  expect_recorded_steps(*learner, *stages[0], recorded_, 4, 1e-4);
}

TEST_P(DomainGuidedMethods, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  expect_resumed_bits([&] { return make({"noise.train=true"}); }, recorded_, 4);
}

TEST_P(DomainGuidedMethods, NamesNewClassesAndComesBackFromDisk) {
  const auto learner = make({"noise.test=image"});
  take_steps(*learner->stages(recorded_.training())[0], recorded_, 4, 0, 2);
  std::vector<std::string> settings = GetParam().settings;
  settings.emplace_back("noise.test=image");
  expect_same_from_disk(GetParam().method, settings, recorded_.classes, *learner, recorded_.whole());
  expect_independent_rows(*learner, recorded_.whole());
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"fox", "bee"}});
  EXPECT_EQ(learner->logits(recorded_.whole()).size(1), 2);
}

TEST_P(DomainGuidedMethods, NoiseBelongsToThePictureAndCanBeSwitchedOff) {
  Batch batch = recorded_.whole();
  const Tensor quiet = make()->logits(batch), noisy = make({"noise.test=image"})->logits(batch);
  EXPECT_GT(largest_difference(quiet, noisy), 1e-4);
  EXPECT_TRUE(noisy.equal(make({"noise.test=image"})->logits(batch)));
  for (std::uint64_t& key : batch.content) key += 77;
  EXPECT_GT(largest_difference(make({"noise.test=image"})->logits(batch), noisy), 1e-4);
  EXPECT_TRUE(make()->logits(batch).equal(quiet));
}

INSTANTIATE_TEST_SUITE_P(All, DomainGuidedMethods, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Gdpl, TheReleasedBehaviourKeepsSingularValuesAtOne) {
  const RecordedSteps recorded("gdpl", "towers");
  const auto released = make_small(gdpl_method(), {"lora.relation=false"}, recorded.classes);
  EXPECT_FALSE(released->state().contains("relation"));
  const auto intended = make_small(gdpl_method(), {}, recorded.classes);
  // The relation starts at zero and the singular values at one: both begin alike, and only one learns them.
  EXPECT_TRUE(released->logits(recorded.whole()).equal(intended->logits(recorded.whole())));
  take_steps(*intended->stages(recorded.training())[0], recorded, 4, 0, 6);
  EXPECT_GT(intended->state().at("relation").abs().max().item<double>(), 0);
}

TEST(DomainGuided, WrongSettingsAreRefusedByName) {
  const auto expect_refused = [](const Method& method, const char* setting, const char* text) {
    EXPECT_THAT([&] { make_small(method, {setting}, {{"dog"}}); }, ThrowsMessage<Error>(HasSubstr(text)));
  };
  expect_refused(dcpl_method(), "tokens=9", "context.init");
  expect_refused(dcpl_method(), "depth=0", "depth");
  expect_refused(dplq_method(), "quaternion.input=product", "quaternion.input");
  expect_refused(gdpl_method(), "lora.rank=0", "lora.rank");
  expect_refused(gdpl_method(), "noise.test=always", "noise.test");
  expect_refused(gdpl_method(), "domain.model=/no/such/folder", "/no/such/folder");
}

}  // namespace
}  // namespace attune

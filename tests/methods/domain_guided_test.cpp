#include "attune/methods/domain_guided.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<RecordedCase> domain_guided_cases() {
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

TEST_P(DomainGuidedMethods, OneStepWithNoiseHasTheLossAndEveryGradientOfAnIndependentImplementationParity) {
  // Plain descent moves a tensor by its gradient times the rate.
  const double rate = 100;
  const auto learner =
      make({"noise.train=true", "optim.lr=100", "optim.momentum=0", "optim.weight_decay=0", "optim.warmup=none"});
  const auto losses = take_steps(*learner->stages(recorded_.training())[0], recorded_, 4, 0, 1);
  EXPECT_NEAR(losses[0][0].second, recorded_.data.at("noisy.loss").item<double>(), 1e-4);
  const TensorMap moved = learner->state(), gradients = part_of_state(recorded_.data, "noisy.gradient.");
  ASSERT_EQ(gradients.size(), moved.size());
  for (const auto& [name, gradient] : gradients) {
    const double largest = gradient.abs().max().item<double>();
    EXPECT_GT(largest, 1e-3) << name;
    EXPECT_LT(largest_difference((recorded_.start.at(name) - moved.at(name)) / rate, gradient), 1e-4 * largest) << name;
  }
}

TEST_P(DomainGuidedMethods, OnePictureAndOneClassAreEnough) {
  const auto learner = make({"noise.train=true", "noise.test=image"});
  Batch one = recorded_.whole();
  one.image_features = one.image_features.narrow(0, 0, 1);
  one.pixels = one.pixels.narrow(0, 0, 1);
  one.content.resize(1);
  EXPECT_EQ(learner->logits(one).sizes(), (std::vector<std::int64_t>{1, 5}));
  learner->set_classes({{"owl"}});
  const Tensor logits = learner->logits(one);
  EXPECT_EQ(logits.sizes(), (std::vector<std::int64_t>{1, 1}));
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
  RecordedSteps alone = recorded_;
  alone.data["batches"] = at::zeros({1, 1}, at::kLong);
  alone.data["labels"] = at::zeros_like(alone.data["labels"]);
  EXPECT_EQ(take_steps(*learner->stages(alone.training())[0], alone, 4, 0, 1)[0][0].second, 0) << "one answer is right";
  for (const auto& [name, tensor] : learner->state()) EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
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

INSTANTIATE_TEST_SUITE_P(All, DomainGuidedMethods, testing::ValuesIn(domain_guided_cases()),
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

TEST(Gdpl, TheReleasedBehaviourMovesWhatIsLeftAlike) {
  const RecordedSteps recorded("gdpl", "towers");
  const std::vector<std::string> plain = {"noise.train=false", "optim.momentum=0", "optim.warmup=none"};
  const auto moved = [&](const char* relation) {
    std::vector<std::string> settings = plain;
    settings.emplace_back(relation);
    const auto learner = make_small(gdpl_method(), settings, recorded.classes);
    take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 1);
    return copied(learner->state());
  };
  const TensorMap released = moved("lora.relation=false"), intended = moved("lora.relation=true");
  EXPECT_LT(released.size(), intended.size());
  for (const auto& [name, tensor] : released) EXPECT_LT(largest_difference(tensor, intended.at(name)), 1e-6) << name;
}

TEST(DomainGuided, AResNetIsRefusedByName) {
  const auto resnet = std::make_shared<const ClipModel>(load_model(kSmallModel + "/../open_clip_resnet"));
  for (const Method& method : {dcpl_method(), dplq_method(), gdpl_method()}) {
    EXPECT_THAT([&] { method.make(resnet, {{"dog"}}, Config(method.schema), 1); },
                ThrowsMessage<UsageError>(HasSubstr(method.name + ": prompts of the image tower need a vision")));
  }
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

#include "attune/methods/coop.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/context.h"
#include "attune/methods/zero_shot.h"
#include "tests/support/close.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::largest_difference;

const std::vector<std::string> kNames = {"dog", "cat on a mat", "big photo", "owl"};

std::unique_ptr<Classifier> make_learner(const Method& method, const std::vector<std::string>& assignments,
                                         const ClassNames& classes = {kNames}) {
  return make_small(method, assignments, classes);
}

TEST(CoOp, WithWordsAsContextEqualsZeroShotWithTheSameTemplate) {
  const Batch batch = small_batch(7);
  const Tensor expected = make_learner(zero_shot_method(), {"templates=a photo of a {}."})->logits(batch);
  const Tensor found = make_learner(coop_method(), {"context.init=a photo of a"})->logits(batch);
  EXPECT_LT(largest_difference(expected, found), 1e-4);
}

TEST(CoOp, EncodesTheFullStopWithTheName) {
  const ClassNames names{{"kite (bird of prey)", "owl!", "dog"}};
  const Batch batch = small_batch(3);
  const Tensor expected = make_learner(zero_shot_method(), {"templates=a photo of a {}."}, names)->logits(batch);
  const Tensor found = make_learner(coop_method(), {"context.init=a photo of a"}, names)->logits(batch);
  EXPECT_LT(largest_difference(expected, found), 1e-4);
}

TEST(CoOp, PutsTheNameWhereThePositionSays) {
  const Batch batch = small_batch(5);
  const auto expect_equal = [&](const std::string& position, const std::string& sentence, const std::string& specific) {
    const Tensor expected = make_learner(zero_shot_method(), {"templates='" + sentence + "'"})->logits(batch);
    const Tensor found = make_learner(coop_method(), {"context.init=a b c d", "context.position=" + position,
                                                      "context.class_specific=" + specific})
                             ->logits(batch);
    EXPECT_LT(largest_difference(expected, found), 1e-4) << position << ", class-specific " << specific;
  };
  for (const char* specific : {"false", "true"}) {
    expect_equal("end", "a b c d {}.", specific);
    expect_equal("middle", "a b {} c d.", specific);
    expect_equal("front", "{} a b c d.", specific);
  }
}

TEST(CoOp, TwentyStepsFollowAnIndependentImplementationParity) {
  const std::string file = std::string(ATTUNE_TEST_DATA) + "/coop_parity.safetensors";
  const TensorMap data = load_tensors(file);
  const Json names = parse_json(SafetensorsFile(file).metadata().at("names"), "names");
  const auto learner = make_learner(coop_method(), {"context.length=4", "epochs=5", "batch_size=5", "optim.lr=0.02"},
                                    {names.get<std::vector<std::string>>()});
  learner->load_state({{"context", data.at("context")}});
  GivenBatches batches(data.at("features"), data.at("labels"), data.at("batches"));
  const auto stages = learner->stages({20, 1});
  ASSERT_EQ(stages.size(), 1u);
  for (int step = 0; step < 20; ++step) {
    if (step % 4 == 0) stages[0]->begin_epoch(step / 4);
    const double expected = data.at("losses")[step].item<double>();
    EXPECT_NEAR(stages[0]->step(batches)[0].second, expected, 1e-4 * std::abs(expected)) << "step " << step;
  }
  EXPECT_LT(largest_difference(learner->state().at("context"), data.at("final")), 1e-4);
}

TEST(CoOp, NamesNewClassesUnlessItsContextBelongsToClasses) {
  const auto shared = make_learner(coop_method(), {});
  EXPECT_TRUE(shared->open_vocabulary());
  shared->set_classes({{"a", "b", "c", "d", "e", "f"}});
  EXPECT_EQ(shared->logits(small_batch(2)).size(1), 6);

  const auto specific = make_learner(coop_method(), {"context.class_specific=true"});
  EXPECT_FALSE(specific->open_vocabulary());
  EXPECT_THAT([&] { specific->set_classes({{"a", "b"}}); }, ThrowsMessage<UsageError>(HasSubstr("class-specific")));
}

TEST(CoOp, RefusesAStateOfAnotherShape) {
  const auto learner = make_learner(coop_method(), {});
  EXPECT_THAT(
      [&] {
        learner->load_state({{"context", at::zeros({2, 2})}});
      },
      ThrowsMessage<Error>(HasSubstr("[16, 32]")));
  EXPECT_THAT([&] { learner->load_state({}); }, ThrowsMessage<Error>(HasSubstr("missing")));
  EXPECT_THAT(
      [&] {
        learner->load_state({{"context", at::zeros({16, 32})}, {"other", at::zeros({1})}});
      },
      ThrowsMessage<Error>(HasSubstr("other")));
}

TEST(CoOp, RefusesNamesThatDoNotFit) {
  EXPECT_THAT([&] { make_learner(coop_method(), {"context.length=76"}, {{"dog"}}); },
              ThrowsMessage<Error>(AllOf(HasSubstr("dog"), HasSubstr("77"))));
}

TEST(CoOp, SameSeedGivesTheSameStart) {
  EXPECT_TRUE(make_learner(coop_method(), {})
                  ->state()
                  .at("context")
                  .equal(make_learner(coop_method(), {})->state().at("context")));
}

TEST(CoOp, ResumedMomentumContinuesWithTheSameBits) {
  const TensorMap data = load_tensors(std::string(ATTUNE_TEST_DATA) + "/coop_parity.safetensors");
  const auto steps = [&](Classifier& learner, Stage& stage, BatchSource& batches, int first, int last) {
    for (int step = first; step < last; ++step) {
      if (step == first || step % 4 == 0) stage.begin_epoch(step / 4);
      stage.step(batches);
    }
    return learner.state().at("context").clone();
  };
  const std::vector<std::string> settings = {"context.length=4", "epochs=5", "optim.lr=0.02"};
  GivenBatches whole(data.at("features"), data.at("labels").clamp(0, 3), data.at("batches"));
  const auto one = make_learner(coop_method(), settings);
  const auto one_stage = std::move(one->stages({20, 1})[0]);
  const Tensor expected = steps(*one, *one_stage, whole, 0, 20);

  GivenBatches parts(data.at("features"), data.at("labels").clamp(0, 3), data.at("batches"));
  const auto first = make_learner(coop_method(), settings);
  const auto first_stage = std::move(first->stages({20, 1})[0]);
  steps(*first, *first_stage, parts, 0, 10);
  const auto second = make_learner(coop_method(), settings);
  second->load_state(first->state());
  const auto second_stage = std::move(second->stages({20, 1})[0]);
  second_stage->load_state(first_stage->state());
  EXPECT_TRUE(steps(*second, *second_stage, parts, 10, 20).equal(expected));
}

}  // namespace
}  // namespace attune

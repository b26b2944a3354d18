#include "attune/methods/prograd.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kProGrad = {"context.init=a b c d", "context.length=4", "epochs=5", "optim.lr=0.02",
                                           "prograd.lambda=0.8"};

std::unique_ptr<Classifier> make_prograd(const RecordedSteps& recorded) {
  auto learner = make_small(prograd_method(), kProGrad, recorded.classes);
  learner->load_state(recorded.start);
  return learner;
}

TEST(ProGrad, TwentyStepsFollowAnIndependentImplementationParity) {
  const RecordedSteps recorded("prograd");
  const auto learner = make_prograd(recorded);
  const Stages stages = learner->stages(recorded.training());
  ASSERT_EQ(stages.size(), 1u);
  expect_recorded_steps(*learner, *stages[0], recorded, 4, 2e-5);
}

TEST(ProGrad, TakesOutWhatConflictsWithTheGeneralGradient) {
  KeyedRandom random(5, "gradients");
  int conflicts = 0;
  for (int i = 0; i < 20; ++i) {
    const Tensor own = normal({4, 6}, 0, 1, random), general = normal({4, 6}, 0, 1, random);
    const Tensor found = aligned_gradient(own, general, 1.0);
    if ((own * general).sum().item<double>() >= 0) {
      EXPECT_TRUE(found.equal(own));
      continue;
    }
    ++conflicts;
    EXPECT_NEAR((found * general).sum().item<double>(), 0, 1e-5);
    // With a smaller lambda the same share of the conflict stays.
    const double before = (own * general).sum().item<double>();
    EXPECT_NEAR((aligned_gradient(own, general, 0.75) * general).sum().item<double>(), 0.25 * before, 1e-5);
    EXPECT_TRUE(aligned_gradient(own, general, 0.0).equal(own));
  }
  EXPECT_GT(conflicts, 4);
}

TEST(ProGrad, FollowsItsOwnGradientWhereTheGeneralOneVanishes) {
  const Tensor own = at::ones({2, 3});
  EXPECT_TRUE(aligned_gradient(own, at::zeros({2, 3}), 1.0).equal(own));
}

TEST(ProGrad, StartsAsTheWordsBeforeTheNameBehindZeros) {
  const ClassNames classes{{"dog", "owl"}, "a big photo of the {}, an owl."};
  const Tensor context = make_small(prograd_method(), {"context.length=16"}, classes)->state().at("context");
  const auto& tokenizer = *small_model()->tokenizer;
  const std::vector<std::int64_t> tokens = tokenizer.encode("a big photo of the");
  const Tensor words = small_model()->text->embed(at::tensor(tokens, at::kLong));
  const std::int64_t zeros = 16 - words.size(0);
  ASSERT_GT(zeros, 0);
  EXPECT_EQ(context.narrow(0, 0, zeros).abs().max().item<double>(), 0);
  EXPECT_TRUE(context.narrow(0, zeros, words.size(0)).equal(words));
  // Without zeros it is the template itself.
  const auto full = make_small(prograd_method(), {"context.length=" + std::to_string(words.size(0))}, classes);
  const auto expected = make_small(zero_shot_method(), {"templates=a big photo of the {}."}, classes);
  EXPECT_LT(largest_difference(full->logits(small_batch(3)), expected->logits(small_batch(3))), 1e-4);
}

TEST(ProGrad, AsksForWordsWhereTheTemplateHasNoneAndForRoom) {
  const ClassNames texture{{"dog"}, "{} texture."};
  EXPECT_THAT([&] { make_small(prograd_method(), {}, texture); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("context.init"), HasSubstr("{} texture."))));
  EXPECT_THAT([] { make_small(prograd_method(), {"context.length=2"}, {{"dog"}}); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("context.length"), HasSubstr("a photo of a"))));
}

TEST(ProGrad, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  const RecordedSteps recorded("prograd");
  expect_resumed_bits([&] { return make_prograd(recorded); }, recorded, 4);
}

TEST(ProGrad, NamesNewClassesAndComesBackFromDisk) {
  const RecordedSteps recorded("prograd");
  const auto learner = make_prograd(recorded);
  take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 8);
  expect_same_from_disk(prograd_method(), kProGrad, recorded.classes, *learner, recorded.whole());
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"fox", "bee"}});
  EXPECT_EQ(learner->logits(small_batch(3)).size(1), 2);
  expect_independent_rows(*learner, small_batch(3));
}

}  // namespace
}  // namespace attune

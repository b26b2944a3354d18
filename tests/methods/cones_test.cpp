#include "attune/methods/cones.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kCones = {"epochs=5", "optim.lr=0.02", "optim.weight_decay=0.01"};

TEST(Cones, TwentyStepsFollowAnIndependentImplementationParity) {
  const RecordedSteps recorded("cones");
  const auto learner = make_small(cones_method(), kCones, recorded.classes);
  EXPECT_LT(largest_difference(learner->state().at("embeddings"), recorded.start.at("embeddings")), 1e-5);
  const Stages stages = learner->stages(recorded.training());
  ASSERT_EQ(stages.size(), 1u);
  // The first steps of AdamW divide small gradients by their own size.
  expect_recorded_steps(*learner, *stages[0], recorded, 4, 1e-4);
}

TEST(Cones, BeginsAsZeroShot) {
  const RecordedSteps recorded("cones");
  const Tensor expected = make_small(zero_shot_method(), {}, recorded.classes)->logits(recorded.whole());
  const Tensor found = make_small(cones_method(), {}, recorded.classes)->logits(recorded.whole());
  EXPECT_LT(largest_difference(found, expected), 1e-4);
}

TEST(Cones, BeginsFromAnotherConceptOrAtRandom) {
  const RecordedSteps recorded("cones");
  const Tensor concept_rows = make_small(cones_method(), {"cones.start=concept", "cones.concept=owl"}, recorded.classes)
                                  ->state()
                                  .at("embeddings");
  const Tensor owl =
      make_small(cones_method(), {}, {{"owl"}, recorded.classes.prompt_template})->state().at("embeddings");
  EXPECT_LT(largest_difference(concept_rows, owl.expand_as(concept_rows)), 1e-6);

  const auto random_start = [&](std::uint64_t seed) {
    Config config(cones_method().schema);
    config.set("cones.start=random", "test");
    return cones_method().make(small_model(), recorded.classes, config, seed)->state().at("embeddings");
  };
  EXPECT_TRUE(random_start(1).equal(random_start(1)));
  EXPECT_FALSE(random_start(1).equal(random_start(2)));
  EXPECT_GT(largest_difference(random_start(1)[0], random_start(1)[1]), 0.1);
}

/// The search is the additive offset on a frozen encoder's output: same gradient, same loss.
TEST(Cones, GradientIsThatOfAnOffsetOnTheFrozenOutput) {
  const RecordedSteps recorded("cones");
  const Batch batch = recorded.whole();
  const auto gradient = [&](const Tensor& leaf, const Tensor& embeddings) {
    cross_entropy(cosine_logits(batch.image_features, embeddings, small_model()->logit_scale), batch.labels)
        .loss.backward();
    return leaf.grad();
  };
  const Tensor output = recorded.start.at("embeddings");
  const Tensor searched = output.clone().requires_grad_(true), offset = at::zeros_like(output).requires_grad_(true);
  EXPECT_TRUE(gradient(searched, searched).equal(gradient(offset, output + offset)));
}

TEST(Cones, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  const RecordedSteps recorded("cones");
  expect_resumed_bits([&] { return make_small(cones_method(), kCones, recorded.classes); }, recorded, 4);
}

TEST(Cones, ComesBackFromDiskForItsOwnClassesOnly) {
  const RecordedSteps recorded("cones");
  const auto learner = make_small(cones_method(), kCones, recorded.classes);
  take_steps(*learner->stages(recorded.training())[0], recorded, 4, 0, 8);
  expect_same_from_disk(cones_method(), kCones, recorded.classes, *learner, recorded.whole());
  EXPECT_FALSE(learner->open_vocabulary());
  EXPECT_THAT([&] { learner->set_classes({{"fox"}}); }, ThrowsMessage<UsageError>(HasSubstr("cones")));
  expect_independent_rows(*learner, small_batch(3));
}

TEST(Cones, RefusesAnUnknownStart) {
  EXPECT_THAT([] { make_small(cones_method(), {"cones.start=here"}, {{"dog"}}); },
              ThrowsMessage<UsageError>(HasSubstr("cones.start")));
  EXPECT_THAT([] { make_small(cones_method(), {"cones.start=concept"}, {{"dog"}}); },
              ThrowsMessage<UsageError>(HasSubstr("cones.concept")));
}

}  // namespace
}  // namespace attune

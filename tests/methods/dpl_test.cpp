#include "attune/methods/dpl.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/network.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<std::string> dpl_settings(const std::vector<std::string>& more = {}) {
  std::vector<std::string> all = {"dpl.tokens=3", "dpl.width=10", "dpl.dropout=0", "optim.lr=0.02", "epochs=3"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::unique_ptr<Classifier> make_dpl(const RecordedSteps& recorded, const std::vector<std::string>& more = {}) {
  return make_small(dpl_method(), dpl_settings(more), recorded.classes);
}

/// With its learned tensors as recorded before or after the steps.
std::unique_ptr<Classifier> make_with(const RecordedSteps& recorded, const TensorMap& learned,
                                      const std::vector<std::string>& more = {}) {
  auto learner = make_dpl(recorded, more);
  TensorMap state = copied(learner->state());
  for (const auto& [name, tensor] : learned) state[name] = tensor;
  learner->load_state(state);
  return learner;
}

TEST(Dpl, TwelveStepsFollowAnIndependentImplementationParity) {
  for (const char* name : {"dpl", "dpl_joint"}) {
    SCOPED_TRACE(name);
    const RecordedSteps recorded(name);
    const auto learner =
        make_with(recorded, recorded.start,
                  {std::string("dpl.joint_columns=") + (name == std::string("dpl") ? "false" : "true")});
    const Stages stages = learner->stages(recorded.training());
    ASSERT_EQ(stages.size(), 1u);
    expect_recorded_steps(*learner, *stages[0], recorded, 4, 2e-5);
  }
}

TEST(Dpl, PredictsWithTheContextThatItIsToldParity) {
  const RecordedSteps recorded("dpl");
  for (const char* context : {"image", "batch"}) {
    const auto learner = make_with(recorded, recorded.final, {std::string("dpl.context=") + context});
    EXPECT_LT(largest_difference(learner->logits(recorded.whole()), recorded.data.at(std::string(context) + "_logits")),
              1e-4)
        << context;
  }
  const auto learner = make_with(recorded, recorded.final, {"dpl.context=training"});
  const Stages stages = learner->stages(recorded.training());
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_LT(largest_difference(stages[0]->validation_logits(recorded.whole()), recorded.data.at("batch_logits")), 1e-4);
  RecordedSteps whole = recorded;
  whole.data["batches"] = at::arange(24, at::kLong).flip(0).unsqueeze(0);
  take_steps(*stages[1], whole, 1, 0, 1);
  EXPECT_LT(largest_difference(learner->logits(recorded.whole()), recorded.data.at("training_logits")), 1e-4);
}

TEST(Dpl, OnlyTheContextOfTheBatchDependsOnNeighbours) {
  const RecordedSteps recorded("dpl");
  Batch batch = recorded.whole();
  for (const char* context : {"image", "training"}) {
    expect_independent_rows(*make_with(recorded, recorded.final, {std::string("dpl.context=") + context}), batch);
  }
  const auto learner = make_with(recorded, recorded.final, {"dpl.context=batch"});
  const Batch alone{batch.image_features.narrow(0, 0, 1), {}, {}};
  EXPECT_GT(largest_difference(learner->logits(alone)[0], learner->logits(batch)[0]), 1e-3);
}

TEST(Dpl, TheMeanOfEqualPicturesIsThatOfOne) {
  const RecordedSteps recorded("dpl");
  const Tensor one = recorded.whole().image_features.narrow(0, 3, 1);
  const Batch many{one.expand({5, one.size(1)}).contiguous(), {}, {}};
  const Tensor image = make_with(recorded, recorded.final)->logits(many);
  const Tensor batch = make_with(recorded, recorded.final, {"dpl.context=batch"})->logits(many);
  EXPECT_LT(largest_difference(image, batch), 1e-4);
}

TEST(Dpl, DropoutIsKeyedByTheStep) {
  const RecordedSteps recorded("dpl");
  const auto losses = [&] {
    const auto learner = make_with(recorded, recorded.start, {"dpl.dropout=0.5", "optim.lr=0"});
    RecordedSteps same = recorded;
    same.data["batches"] = recorded.data.at("batches").narrow(0, 0, 1).expand({2, 9}).contiguous();
    const auto found = take_steps(*learner->stages(recorded.training())[0], same, 4, 0, 2);
    return std::pair(found[0][0].second, found[1][0].second);
  };
  EXPECT_EQ(losses(), losses());
  EXPECT_NE(losses().first, losses().second);
  EXPECT_NE(losses().first, recorded.data.at("losses")[0].item<double>());
  KeyedRandom random(1, "mask");
  const Tensor mask = dropout_mask({100, 100}, 0.25, random);
  EXPECT_NEAR(mask.eq(0).to(at::kDouble).mean().item<double>(), 0.25, 0.02);
  EXPECT_NEAR(mask.max().item<double>(), 1 / 0.75, 1e-6);
}

TEST(Dpl, StartsXavierUniformWithSmallBiases) {
  const TensorMap state = make_small(dpl_method(), {}, {{"dog"}})->state();
  EXPECT_EQ(state.at("output.weight").sizes(), (std::vector<std::int64_t>{16 * 32, 512}));
  const double bound = std::sqrt(6.0 / (16 * 32 + 512)), largest = state.at("output.weight").abs().max().item<double>();
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, 0.99 * bound);
  EXPECT_FLOAT_EQ(state.at("hidden.bias")[5].item<float>(), 0.01f);
}

TEST(Dpl, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  const RecordedSteps recorded("dpl");
  expect_resumed_bits([&] { return make_with(recorded, recorded.start, {"dpl.dropout=0.1"}); }, recorded, 4);
}

TEST(Dpl, NamesNewClassesAndComesBackFromDisk) {
  const RecordedSteps recorded("dpl");
  for (const char* context : {"dpl.context=image", "dpl.context=batch", "dpl.context=training"}) {
    const auto learner = make_with(recorded, recorded.final, {context});
    expect_same_from_disk(dpl_method(), dpl_settings({context}), recorded.classes, *learner, recorded.whole());
    EXPECT_TRUE(learner->open_vocabulary());
    learner->set_classes({{"fox", "bee"}});
    EXPECT_EQ(learner->logits(small_batch(20)).sizes(), (std::vector<std::int64_t>{20, 2}));
  }
}

TEST(Dpl, RefusesSettingsOutOfRange) {
  for (const char* setting : {"dpl.tokens=0", "dpl.width=0", "dpl.dropout=1", "dpl.context=domain"}) {
    const std::string key = std::string(setting).substr(0, std::string(setting).find('='));
    EXPECT_THAT([&] { make_small(dpl_method(), {setting}, {{"dog"}}); }, ThrowsMessage<UsageError>(HasSubstr(key)));
  }
}

}  // namespace
}  // namespace attune

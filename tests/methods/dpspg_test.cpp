#include "attune/methods/dpspg.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/prompt_encoder.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kDpspg = {"dpspg.hidden=8",           "dpspg.dropout=0",
                                         "context.positive=a b c d", "context.negative=d c b a",
                                         "optim.warmup=none",        "optim.schedule=constant",
                                         "labels.lr=0.02",           "labels.warmup_epochs=0",
                                         "labels.epochs=1000",       "batch_size=6"};

std::unique_ptr<Classifier> make_dpspg(const RecordedSteps& recorded, const std::vector<std::string>& more = {}) {
  std::vector<std::string> settings = kDpspg;
  settings.insert(settings.end(), more.begin(), more.end());
  return make_small(dpspg_method(), settings, recorded.classes);
}

TrainingData two_domains() {
  return {24, 1, nullptr, {{"art", 12}, {"never shown", 0}, {"photo", 12}}};
}

/// The formula from which the recorded generators start.
Tensor wave(std::int64_t key, const Tensor& like) {
  const Tensor places = at::arange(like.numel(), at::kDouble) * 0.7 + key;
  return (at::sin(places) * 0.2).to(at::kFloat).view(like.sizes());
}

void start_generators(Classifier& learner, const RecordedSteps& recorded) {
  const TensorMap state = learner.state();
  std::int64_t first = 0;
  for (const char* path : {"positive", "negative"}) {
    std::int64_t key = first;
    for (const auto& [name, tensor] : part_of_state(state, std::string(path) + ".generator.")) {
      const bool scale = name.find("norm") != std::string::npos && name.ends_with("weight");
      tensor.copy_(wave(key++, tensor) + (scale ? 1 : 0));
    }
    const Tensor labels = recorded.data.at(std::string("labels.") + path);
    state.at(std::string(path) + ".labels.art").copy_(labels[0]);
    state.at(std::string(path) + ".labels.photo").copy_(labels[2]);
    first += 100;
  }
}

TEST(Dpspg, TwelveStepsOfADomainsPromptsFollowAnIndependentImplementationParity) {
  const RecordedSteps recorded("dpspg_label");
  const auto learner = make_dpspg(recorded);
  const Stages stages = learner->stages(recorded.training());
  ASSERT_EQ(stages.size(), 2u);
  for (const char* path : {"positive", "negative"}) {
    learner->state().at(std::string(path) + ".labels.all").copy_(recorded.start.at(path));
  }
  expect_recorded_losses(*stages[0], recorded, 12, 2e-5);
  for (const auto& [path, tensor] : recorded.final) {
    EXPECT_LT(largest_difference(learner->state().at(path + ".labels.all"), tensor), 2e-5) << path;
    EXPECT_GT(largest_difference(recorded.start.at(path), tensor), 1e-3) << path;
  }
}

TEST(Dpspg, TwelveStepsOfTheGeneratorsFollowPyTorchsTransformerParity) {
  const RecordedSteps recorded("dpspg");
  const auto learner = make_dpspg(recorded);
  const Stages stages = learner->stages(two_domains());
  ASSERT_EQ(stages.size(), 3u);
  start_generators(*learner, recorded);
  const TensorMap before = copied(learner->state());
  expect_recorded_losses(*stages[2], recorded, 12, 1e-4, 1);
  const TensorMap state = learner->state();
  ASSERT_EQ(recorded.final.size(), 2u * (4 * 12 + 2));
  for (const auto& [name, tensor] : recorded.final) {
    EXPECT_LT(largest_difference(state.at(name).flatten().slice(0, 0, std::nullopt, 5), tensor), 1e-4) << name;
    EXPECT_FALSE(state.at(name).equal(before.at(name))) << name << " was not learned";
  }
  EXPECT_LT(largest_difference(learner->logits(recorded.whole()), recorded.data.at("logits")), 2e-3);
}

TEST(Dpspg, LearnsTheDomainsThatHaveSamplesThenTheGenerators) {
  const RecordedSteps recorded("dpspg");
  const auto learner = make_dpspg(recorded);
  const Stages stages = learner->stages(two_domains());
  EXPECT_EQ(stages[0]->name(), "label art");
  EXPECT_EQ(stages[2]->name(), "generators");
  EXPECT_THAT((std::vector{stages[0]->domain(), stages[1]->domain(), stages[2]->domain()}), ElementsAre(0, 2, -1));
  EXPECT_FALSE(learner->state().contains("positive.labels.never shown"));
}

TEST(Dpspg, ALabelIsJudgedByThePositiveLessTheNegativePrompt) {
  const RecordedSteps recorded("dpspg");
  const auto learner = make_dpspg(recorded);
  const Stages stages = learner->stages(two_domains());
  const Batch batch = small_batch(5);
  const auto of_words = [&](const char* sentence) {
    return make_small(zero_shot_method(), {std::string("templates=") + sentence}, recorded.classes)->logits(batch);
  };
  const Tensor expected = of_words("a b c d {}.") - of_words("d c b a {}.");
  EXPECT_LT(largest_difference(stages[0]->validation_logits(batch), expected), 1e-4);
}

TEST(Dpspg, AlphaWeighsTheNegativePrompt) {
  const RecordedSteps recorded("dpspg");
  const Batch batch = small_batch(4);
  const Tensor none = make_dpspg(recorded, {"dpspg.alpha=0"})->logits(batch);
  const Tensor some = make_dpspg(recorded, {"dpspg.alpha=0.2"})->logits(batch);
  const Tensor more = make_dpspg(recorded, {"dpspg.alpha=0.4"})->logits(batch);
  EXPECT_GT(largest_difference(none, some), 1e-3);
  EXPECT_LT(largest_difference(none - some, some - more), 1e-4);
}

TEST(Dpspg, ADomainsPromptsResumedInTheMiddleEndWithTheSameBits) {
  const RecordedSteps recorded("dpspg_label");
  expect_resumed_bits([&] { return make_dpspg(recorded); }, recorded, 4);
}

TEST(Dpspg, GeneratorsResumedInTheMiddleEndWithTheSameBits) {
  RecordedSteps recorded("dpspg");
  recorded.data.erase("domains");
  expect_resumed_bits([&] { return make_dpspg(recorded, {"dpspg.dropout=0.1"}); }, recorded, 4, 1);
}

TEST(Dpspg, DropoutTakesPartInTrainingAlone) {
  KeyedRandom random(1, "start");
  const PromptEncoder encoder(24, 16, 2, 6, random, at::kCPU);
  const Tensor features = normalise_rows(small_batch(5).image_features);
  const at::NoGradGuard no_gradients;
  KeyedRandom one(1, "dropout"), same(1, "dropout"), other(2, "dropout"), none(1, "none");
  const Tensor with = encoder(features, 0.1, &one);
  EXPECT_TRUE(with.equal(encoder(features, 0.1, &same)));
  EXPECT_FALSE(with.equal(encoder(features, 0.1, &other)));
  EXPECT_LT(largest_difference(encoder(features), encoder(features, 0.0, &none)), 1e-6);
  EXPECT_EQ(with.sizes(), (std::vector<std::int64_t>{5, 2, 6}));
  // Layers start as copies of one, with a bias of zero where the release has it.
  EXPECT_TRUE(encoder.parameters().at("0.linear1.weight").equal(encoder.parameters().at("3.linear1.weight")));
  EXPECT_EQ(encoder.parameters().at("2.value.bias").abs().max().item<double>(), 0);
}

TEST(Dpspg, NamesNewClassesAndComesBackFromDisk) {
  const RecordedSteps recorded("dpspg");
  const auto learner = make_dpspg(recorded);
  const Stages stages = learner->stages(two_domains());
  take_steps(*stages[2], recorded, 4, 0, 3);
  expect_same_from_disk(dpspg_method(), kDpspg, recorded.classes, *learner, recorded.whole());
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"fox", "bee"}});
  EXPECT_EQ(learner->logits(small_batch(20)).sizes(), (std::vector<std::int64_t>{20, 2}));
  expect_independent_rows(*learner, small_batch(18));
}

TEST(Dpspg, RefusesWhatCannotBe) {
  for (const char* setting : {"dpspg.hidden=0", "dpspg.dropout=1", "context.negative=''"}) {
    const std::string key = std::string(setting).substr(0, std::string(setting).find('='));
    EXPECT_THAT([&] { make_small(dpspg_method(), {setting}, {{"dog"}}); }, ThrowsMessage<UsageError>(HasSubstr(key)));
  }
  KeyedRandom random(1, "start");
  EXPECT_THAT([&] { PromptEncoder(20, 16, 2, 6, random, at::kCPU); }, ThrowsMessage<UsageError>(HasSubstr("8 heads")));
}

}  // namespace
}  // namespace attune

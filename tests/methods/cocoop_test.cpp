#include "attune/methods/cocoop.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/methods/zero_shot.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(CoCoOp, TwelveStepsFollowAnIndependentImplementationParity) {
  const std::string file = std::string(ATTUNE_TEST_DATA) + "/cocoop_parity.safetensors";
  const TensorMap data = load_tensors(file);
  const Json names = parse_json(SafetensorsFile(file).metadata().at("names"), "names");
  const auto learner = make_small(
      cocoop_method(), {"optim.lr=0.01", "optim.warmup=none", "optim.schedule=constant", "context.init=a b c d"},
      {names.get<std::vector<std::string>>()});
  TensorMap start, final;
  for (const auto& [name, tensor] : data) {
    if (name.starts_with("start.")) start[name.substr(6)] = tensor;
    if (name.starts_with("final.")) final[name.substr(6)] = tensor;
  }
  learner->load_state(start);
  const auto stages = learner->stages({20, 1});
  ASSERT_EQ(stages.size(), 1u);
  stages[0]->begin_epoch(0);
  GivenBatches batches(data.at("features"), data.at("labels"), data.at("batches"));
  for (int step = 0; step < 12; ++step) {
    const double expected = data.at("losses")[step].item<double>();
    EXPECT_NEAR(stages[0]->step(batches)[0].second, expected, 1e-4 * std::abs(expected)) << "step " << step;
  }
  for (const auto& [name, tensor] : learner->state()) {
    EXPECT_LT((tensor - final.at(name)).abs().max().item<double>(), 1e-5) << name;
  }
}

TEST(CoCoOp, WithoutItsMetaNetIsTheTemplateOfItsWords) {
  const ClassNames classes{{"dog", "cat on a mat", "owl"}};
  const auto learner = make_small(cocoop_method(), {}, classes);
  TensorMap state = learner->state();
  for (const auto& [name, tensor] : state) {
    if (name.starts_with("meta_net")) tensor.zero_();
  }
  const Batch batch = small_batch(4);
  const Tensor expected = make_small(zero_shot_method(), {"templates=a photo of a {}."}, classes)->logits(batch);
  EXPECT_LT((learner->logits(batch) - expected).abs().max().item<double>(), 1e-4);
}

TEST(CoCoOp, AnImagesLogitsDoNotDependOnItsNeighbours) {
  const auto learner = make_small(cocoop_method(), {}, {{"dog", "cat on a mat", "owl"}});
  const Batch all = small_batch(5);
  const Tensor together = learner->logits(all);
  for (std::int64_t i = 0; i < 5; ++i) {
    const Tensor alone = learner->logits({all.image_features.narrow(0, i, 1), {}, {}});
    EXPECT_LT((alone[0] - together[i]).abs().max().item<double>(), 1e-4);
  }
}

TEST(CoCoOp, NamesNewClassesAndRefusesOtherPlacesOfTheContext) {
  const auto learner = make_small(cocoop_method(), {}, {{"dog", "cat"}});
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"a", "b", "c"}});
  EXPECT_EQ(learner->logits(small_batch(2)).size(1), 3);
  EXPECT_THAT([] { make_small(cocoop_method(), {"context.position=front"}, {{"dog"}}); },
              ThrowsMessage<UsageError>(HasSubstr("cocoop")));
}

}  // namespace
}  // namespace attune

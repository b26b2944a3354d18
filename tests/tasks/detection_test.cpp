#include "attune/tasks/detection.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/data/boxes.h"
#include "attune/tasks/concept_search.h"
#include "tests/support/close.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;
using testing_support::largest_difference;

std::shared_ptr<const OwlVit> detector() {
  static const auto loaded = [] {
    LoadOptions options;
    options.text = false;
    return std::make_shared<const OwlVit>(OwlVit::load(kData / "owl_vit", options));
  }();
  return loaded;
}

BoxDataset boxes() {
  return open_boxes(kData / "boxes/boxes.json");
}

std::unique_ptr<DetectionTask> task() {
  const BoxDataset dataset = boxes();
  return std::make_unique<DetectionTask>(detector(), dataset.root, dataset.all, MatchSettings());
}

OptimSettings search_settings() {
  Config config(OptimSettings::schema({{"optim.name", "adamw"},
                                       {"optim.lr", 0.05},
                                       {"optim.weight_decay", 0.0},
                                       {"optim.schedule", "constant"},
                                       {"optim.warmup", "none"},
                                       {"batch_size", 2}}));
  return OptimSettings(config);
}

class Samples final : public BatchSource {
 public:
  explicit Samples(const Tensor& batches, std::int64_t first = 0) : batches_(batches), next_(first) {}
  Batch next() override {
    const Tensor row = batches_[next_++];
    Batch batch;
    for (std::int64_t i = 0; i < row.numel(); ++i) batch.samples.push_back(row[i].item<std::int64_t>());
    return batch;
  }

 private:
  Tensor batches_;
  std::int64_t next_;
};

TEST(DetectionSearch, FollowsAnIndependentImplementationStepByStepParity) {
  const TensorMap expected = load_tensors(kData / "expected.safetensors");
  const auto searched = task();
  ConceptSearch search(expected.at("start"), search_settings(), searched.get());
  const Stages stages = search.stages({searched->samples(), 1});
  Samples batches(expected.at("batches"));
  stages[0]->begin_epoch(0);
  for (std::int64_t step = 0; step < expected.at("losses").numel(); ++step) {
    const Losses losses = stages[0]->step(batches);
    EXPECT_NEAR(losses[0].second, expected.at("losses")[step].item<double>(), 1e-4) << step;
    EXPECT_EQ(losses[1].first, "matched_iou");
    EXPECT_NEAR(losses[1].second, expected.at("ious")[step].item<double>(), 1e-5) << step;
  }
  EXPECT_LT(largest_difference(search.embeddings(), expected.at("final")), 1e-3);
  EXPECT_GT(largest_difference(search.embeddings(), expected.at("start")), 0.1);
}

/// ConES searches what an additive offset on the frozen text encoder's output would learn.
TEST(DetectionSearch, GradientIsThatOfAnOffsetOnTheFrozenOutput) {
  const OwlVit whole = OwlVit::load(kData / "owl_vit");
  const Tensor output = whole.queries({"a photo of a cat", "a photo of a large bird"});
  const auto searched = task();
  const Tensor embeddings = output.clone().requires_grad_(true), offset = at::zeros_like(output).requires_grad_(true);
  searched->loss(embeddings, {0, 1, 2}).loss.backward();
  searched->loss(output + offset, {0, 1, 2}).loss.backward();
  EXPECT_TRUE(embeddings.grad().equal(offset.grad()));
  EXPECT_GT(embeddings.grad().abs().max().item<double>(), 1e-4);
}

TEST(DetectionSearch, ResumedSearchEndsWithTheSameBits) {
  const TensorMap expected = load_tensors(kData / "expected.safetensors");
  const auto searched = task();
  const auto steps = [&](ConceptSearch& search, Stage& stage, std::int64_t first, std::int64_t last) {
    Samples batches(expected.at("batches"), first);
    stage.begin_epoch(0);
    for (std::int64_t step = first; step < last; ++step) stage.step(batches);
    return search.embeddings().clone();
  };
  ConceptSearch whole(expected.at("start"), search_settings(), searched.get());
  const Stages whole_stages = whole.stages({3, 1});
  const Tensor wanted = steps(whole, *whole_stages[0], 0, 12);
  ConceptSearch first(expected.at("start"), search_settings(), searched.get());
  const Stages first_stages = first.stages({3, 1});
  steps(first, *first_stages[0], 0, 5);
  ConceptSearch second(at::zeros({2, 32}), search_settings(), searched.get());
  const Stages second_stages = second.stages({3, 1});
  second.load_state(first.state());
  second_stages[0]->load_state(first_stages[0]->state());
  EXPECT_TRUE(steps(second, *second_stages[0], 5, 12).equal(wanted));
}

TEST(FocalLoss, IsCrossEntropyWithoutFocus) {
  KeyedRandom random(1, "logits");
  const Tensor logits = normal({4, 3}, 0, 3, random), targets = at::bernoulli(at::full({4, 3}, 0.5)).round();
  const Tensor plain = at::binary_cross_entropy_with_logits(logits, targets, {}, {}, at::Reduction::None);
  EXPECT_LT(largest_difference(focal_loss(logits, targets, 0.5, 0), plain / 2), 1e-6);
}

TEST(MatchingLoss, TakesEveryCellAsWrongWhereNothingIsShown) {
  const TensorMap expected = load_tensors(kData / "expected.safetensors");
  const Sight sight = detector()->look(at::zeros({1, 3, 64, 64}));
  const Tensor logits = OwlVit::logits(sight, expected.at("start"))[0];
  const Matched matched = matching_loss(sight, logits, objects_of({1, "", 10, 10, {}}), {});
  EXPECT_TRUE(matched.cells.empty());
  EXPECT_NEAR(matched.loss.item<double>(), focal_loss(logits, at::zeros_like(logits), 0.25, 2).sum().item<double>(),
              1e-5);
  // All of the picture is a crowd of the first category: its cells are not asked.
  const Matched crowd = matching_loss(sight, logits, objects_of({1, "", 10, 10, {{{0, 0, 10, 10}, 0, 100, true}}}), {});
  EXPECT_LT(crowd.loss.item<double>(), matched.loss.item<double>());
}

TEST(MatchingLoss, BearsMoreObjectsThanCells) {
  const Sight sight = detector()->look(at::zeros({1, 3, 64, 64}));
  BoxPicture picture{1, "", 64, 64, {}};
  for (int i = 0; i < 20; ++i) picture.labels.push_back({{0, 0, 3.0 * i + 1, 10}, i % 2, 10});
  const Tensor logits = OwlVit::logits(sight, at::ones({2, 32}))[0];
  const Matched matched = matching_loss(sight, logits, objects_of(picture), {});
  EXPECT_EQ(std::count(matched.cells.begin(), matched.cells.end(), -1), 4);
}

TEST(Findings, AreWithinThePictureTheBestFirstAndNotTwiceInAPlace) {
  const BoxDataset dataset = boxes();
  const BoxPicture& picture = dataset.all[0];
  const Sight sight = look_at(*detector(), read_box_picture(dataset.root, picture));
  KeyedRandom random(5, "queries");
  const Tensor queries = normal({2, 32}, 0, 1, random);
  FindSettings every;
  every.threshold = 0;
  every.overlap = 1;
  EXPECT_EQ(find_objects(sight, queries, picture, every).size(), 16u);
  FindSettings few;
  few.threshold = 0;
  few.overlap = 0.3;
  few.most = 5;
  const auto found = find_objects(sight, queries, picture, few);
  ASSERT_LE(found.size(), 5u);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Box& box = found[i].box;
    EXPECT_TRUE(box.x >= 0 && box.y >= 0 && box.x + box.width <= 72 && box.y + box.height <= 56);
    if (i > 0) EXPECT_LE(found[i].score, found[i - 1].score);
  }
  few.threshold = 1;
  EXPECT_TRUE(find_objects(sight, queries, picture, few).empty());
}

TEST(DetectionTask, RefusesAPictureOfAnotherSizeThanItsAnnotation) {
  BoxDataset dataset = boxes();
  dataset.all[1].width = 71;
  DetectionTask wrong(detector(), dataset.root, dataset.all, MatchSettings());
  EXPECT_THAT(
      [&] {
        wrong.loss(at::ones({2, 32}), {1});
      },
      ThrowsMessage<Error>(AllOf(HasSubstr("1.png"), HasSubstr("71"), HasSubstr("72"))));
}

TEST(DetectionTask, RefusesSettingsOutOfRange) {
  for (const char* setting : {"match.l1_cost=-1", "focal.alpha=2"}) {
    Config config(MatchSettings::schema());
    config.set(setting, "test");
    EXPECT_THROW(MatchSettings{config}, UsageError) << setting;
  }
  Config config(FindSettings::schema());
  config.set("find.most=0", "test");
  EXPECT_THROW(FindSettings{config}, UsageError);
}

}  // namespace
}  // namespace attune

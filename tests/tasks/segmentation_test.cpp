#include "attune/tasks/segmentation.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/tasks/concept_search.h"
#include "tests/support/stored.h"
#include "tests/tasks/recorded_pictures.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;

std::shared_ptr<const ClipSeg> segmenter() {
  return std::make_shared<const ClipSeg>(ClipSeg::load(kData / "clipseg"));
}

TEST(Segmentation, IsSearchedForAsAnIndependentImplementationDoesParity) {
  const TensorMap recorded = load_tensors(kData / "clipseg.safetensors");
  const TemporaryFolder folder;
  SegmentationTask task(segmenter(), folder.path(), recorded_pictures(folder.path(), recorded), whole());
  ASSERT_EQ(task.samples(), 4);
  Config config(OptimSettings::schema({{"optim.name", "adamw"},
                                       {"optim.lr", 0.05},
                                       {"optim.weight_decay", 0.0},
                                       {"optim.schedule", "constant"},
                                       {"optim.warmup", "none"}}));
  ConceptSearch search(recorded.at("search.start"), OptimSettings(config), &task);
  const Stages stages = search.stages({4, 1});
  stages[0]->begin_epoch(0);
  struct Given final : BatchSource {
    std::int64_t step = 0;
    Batch next() override {
      Batch batch;
      batch.samples = {(2 * step) % 4, (2 * step + 1) % 4};
      ++step;
      return batch;
    }
  } given;
  for (std::int64_t step = 0; step < 10; ++step) {
    const Losses losses = stages[0]->step(given);
    const Tensor expected = recorded.at("search.losses")[step];
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(losses.at(i).second, expected[static_cast<std::int64_t>(i)].item<double>(), 2e-6) << losses[i].first;
    }
    const Tensor difference = search.embeddings() - recorded.at("search.states")[step];
    EXPECT_LT(difference.abs().max().item<double>(), 2e-5) << step;
  }
}

TEST(Segmentation, OfWholePicturesPutsObjectsOfACategoryTogether) {
  const TensorMap recorded = load_tensors(kData / "clipseg.safetensors");
  const TemporaryFolder folder;
  std::vector<BoxPicture> pictures = recorded_pictures(folder.path(), recorded);
  pictures.resize(1);
  BoxLabel other = pictures[0].labels[0];
  const std::vector<std::uint8_t> none(32 * 32);
  other.mask = mask_of_pixels(32, 32, none);
  pictures[0].labels.push_back(other);
  BoxLabel crowd = other;
  crowd.crowd = true;
  pictures[0].labels.push_back(crowd);
  SegmentationTask together(segmenter(), folder.path(), pictures, whole());
  EXPECT_EQ(together.samples(), 1);
  SegmentationTask apart(segmenter(), folder.path(), pictures, {});
  EXPECT_EQ(apart.samples(), 2);
  pictures[0].labels[1].mask = {};
  EXPECT_THAT([&] { SegmentationTask(segmenter(), folder.path(), pictures, {}); },
              ThrowsMessage<Error>(HasSubstr("0.png: expected objects with masks")));
}

TEST(Segmentation, CutsOutABoxWithAMarginWithinThePicture) {
  EXPECT_EQ(cut_around({10, 20, 20, 10}, 0.25, 100, 80), (Cut{5, 17, 30, 16}));
  EXPECT_EQ(cut_around({0, 0, 100, 80}, 0.25, 100, 80), (Cut{0, 0, 100, 80}));
  EXPECT_EQ(cut_around({200, 90, 5, 5}, 0, 100, 80), (Cut{99, 79, 1, 1}));
  EXPECT_EQ(cut_around({3, 3, 0, 0}, 0.5, 100, 80), (Cut{3, 3, 1, 1}));
}

TEST(Segmentation, TargetsAreSharesOfPixels) {
  // Two columns of four are within; the cut holds the last three.
  const std::vector<std::uint8_t> pixels = {1, 1, 0, 0, 1, 1, 0, 0};
  const Tensor target = target_of(pixels, 4, {1, 0, 3, 2}, 3);
  EXPECT_TRUE(at::equal(target, at::tensor({1.0F, 0.0F, 0.0F}).repeat({3, 1})));
  EXPECT_NEAR(target_of(pixels, 4, {0, 0, 4, 2}, 1).item<double>(), 0.5, 1e-6);
}

TEST(Segmentation, LossIsSmallForRightMasksAndLargeForWrongOnes) {
  Tensor target = at::zeros({2, 4, 4});
  target.narrow(1, 0, 2).fill_(1);
  const Tensor logits = at::stack({20 * target[0] - 10, 10 - 20 * target[1]});
  const MaskLoss loss = mask_loss(logits, target);
  EXPECT_LT(loss.entropy[0].item<double>() + loss.dice[0].item<double>(), 1e-3);
  EXPECT_GT(loss.entropy[1].item<double>(), 9);
  EXPECT_GT(loss.dice[1].item<double>(), 0.9);
}

TEST(Segmentation, GivesEachDetectionTheMaskOfItsOwnCut) {
  const TensorMap recorded = load_tensors(kData / "clipseg.safetensors");
  const auto model = segmenter();
  const Image picture = image_of(recorded.at("levels")[0]);
  const Tensor conditions = at::stack({recorded.at("plain.given")[0], recorded.at("plain.given")[1]});
  std::vector<Detection> found;
  for (int i = 0; i < 19; ++i) found.push_back({1, i % 2, {1.0 * i, 3, 9, 12}, 0.5});
  found.push_back({1, 0, {0, 0, 32, 32}, 0.5});
  SegmentSettings settings;
  segment_found(*model, picture, conditions, settings, found);
  for (const Detection& one : found) {
    ASSERT_TRUE(one.mask.known());
    const Cut cut = cut_around(one.box, settings.margin, 32, 32);
    const Mask cut_whole = mask_of_box(32, 32, {1.0 * cut.left, 1.0 * cut.top, 1.0 * cut.width, 1.0 * cut.height});
    EXPECT_EQ(united(cut_whole, one.mask), cut_whole);
    // The same alone as among others.
    std::vector<Detection> alone = {one};
    segment_found(*model, picture, conditions, settings, alone);
    EXPECT_GT(mask_overlap(alone[0].mask, one.mask, false), 0.98);
  }
  // The whole picture: the logits need no resizing.
  const Tensor logits =
      model->logits(model->look(input_of(picture, {0, 0, 32, 32}, model->preprocess())), conditions.narrow(0, 0, 1));
  EXPECT_EQ(found.back().mask, mask_of(logits[0].ge(0).to(at::kByte)));
}

}  // namespace
}  // namespace attune

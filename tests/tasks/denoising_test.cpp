#include "attune/tasks/denoising.h"

#include <gtest/gtest.h>

#include "attune/tasks/concept_search.h"
#include "attune/tasks/dreambooth.h"
#include "tests/tasks/given_noise.h"

namespace attune {
namespace {

/// Maps of the small model's size, the same for a seed.
Tensor small_maps(std::int64_t count, std::uint64_t seed = 4) {
  KeyedRandom random(seed, "maps");
  return uniform({count, 3, 8, 8}, -1, 1, random);
}

Tensor small_rows(std::int64_t count) {
  KeyedRandom random(5, "rows");
  return normal({count, small_diffusion()->unet.hidden_width}, 0, 1, random);
}

DenoisingTask small_task(std::uint64_t seed, const std::shared_ptr<const DiffusionModel>& model = small_diffusion()) {
  const Tensor maps = small_maps(2);
  return {model, {maps, maps.flip({3})}, 4, seed};
}

// Ten steps of the search against diffusers' UNet and schedule and PyTorch's AdamW. Single precision sums in another
// order; AdamW's first steps are as long for a small gradient as for a large one, so that differences can grow.
TEST(ConceptSearchParity, FindsTheRowsThatDiffusersFinds) {
  const TensorMap stored = given_noise();
  GivenNoise task(stored);
  ConceptSearch search(stored.at("rows"), given_settings(), &task);
  const Tensor losses = ten_steps(search);
  EXPECT_TRUE(at::allclose(losses, stored.at("cones.losses"), 1e-5, 1e-6)) << losses << stored.at("cones.losses");
  EXPECT_TRUE(at::allclose(search.embeddings(), stored.at("cones"), 1e-4, 1e-4));
}

TEST(ConceptSearch, HasTheGradientOfAnOffsetOnAFrozenEncodersOutput) {
  DenoisingTask task = small_task(1);
  const std::vector<std::int64_t> samples{0, 3, 5};
  const Tensor encoded = small_rows(6);
  const Tensor searched = encoded.clone().requires_grad_(true);
  const Tensor offset = at::zeros_like(encoded).requires_grad_(true);
  task.begin_step(7);
  task.loss(searched, samples).loss.backward();
  task.begin_step(7);
  task.loss(encoded + offset, samples).loss.backward();
  EXPECT_TRUE(searched.grad().equal(offset.grad()));
  EXPECT_GT(searched.grad().abs().max().item<double>(), 1e-6);
}

TEST(DenoisingTask, DrawsByTheSeedAndTheNumberOfTheStepAlone) {
  const Tensor rows = small_rows(6);
  const auto loss_of = [&](DenoisingTask& task, std::int64_t step) {
    task.begin_step(step);
    return task.loss(rows, {0, 1, 2}).loss.item<double>();
  };
  DenoisingTask first = small_task(1), again = small_task(1), other = small_task(2);
  const double third = loss_of(first, 3);
  loss_of(again, 9);
  EXPECT_EQ(loss_of(again, 3), third);
  EXPECT_NE(loss_of(again, 4), third);
  EXPECT_NE(loss_of(other, 3), third);
}

TEST(DrawNoise, DrawsOneTimeFromEachStratum) {
  const NoiseSchedule schedule(small_diffusion()->noise());
  const NoiseDraw draw = draw_noise(schedule, {10, 3, 8, 8}, 1, "test", 0);
  const Tensor strata = std::get<0>(draw.steps.sort()).mul(10).floor_divide(schedule.steps());
  EXPECT_TRUE(strata.equal(at::arange(10, at::kLong)));
  EXPECT_NEAR(draw.noise.std().item<double>(), 1.0, 0.05);
}

TEST(DenoisingProbe, IsTheMeanOverItsPairsAndTheSameForASeed) {
  const Tensor maps = small_maps(2), rows = small_rows(6);
  const DenoisingProbe probe(small_diffusion(), maps, 21, 3);
  EXPECT_EQ(probe.loss(rows), DenoisingProbe(small_diffusion(), maps, 21, 3).loss(rows));
  const NoiseSchedule schedule(small_diffusion()->noise());
  const Tensor repeated = maps.index_select(0, at::arange(21, at::kLong).remainder(2));
  const NoiseDraw draw = draw_noise(schedule, repeated.sizes(), 3, "denoising.probe", 0);
  const double whole =
      denoising_loss(small_diffusion()->network(), schedule, repeated, draw, rows.unsqueeze(0)).item<double>();
  EXPECT_NEAR(probe.loss(rows), whole, 1e-5);
}

class DreamBoothStage : public testing::Test {
 protected:
  DreamBoothStage() {
    DiffusionOptions options;
    options.train_unet = true;
    model_ = std::make_shared<const DiffusionModel>(load_diffusion_model(kSmallDiffusion, options));
  }
  std::shared_ptr<const DiffusionModel> model_;
};

TEST_F(DreamBoothStage, TunesTheNetworkAndKeepsTheRows) {
  DenoisingTask task = small_task(1, model_), kind = small_task(2, model_);
  const Tensor rows = small_rows(6), before = model_->trainable_unet->parameters().at("conv_in.weight").clone();
  DreamBooth learner(rows, false, model_->trainable_unet, given_settings(1e-3), &task, {&kind, small_rows(6), 0.5});
  const auto stages = learner.stages({task.samples(), 1});
  const Losses losses = step_of(*stages.front(), {0, 1});
  ASSERT_EQ(losses.size(), 3U);
  EXPECT_NEAR(losses[0].second, losses[1].second + 0.5 * losses[2].second, 1e-6);
  EXPECT_TRUE(learner.embeddings().equal(rows));
  EXPECT_FALSE(model_->trainable_unet->parameters().at("conv_in.weight").equal(before));
  EXPECT_TRUE(
      learner.state().at("unet.conv_in.weight").equal(model_->trainable_unet->parameters().at("conv_in.weight")));
}

TEST_F(DreamBoothStage, TrainsTheRowsWhereThatIsAskedFor) {
  DenoisingTask task = small_task(1, model_);
  const Tensor rows = small_rows(6);
  DreamBooth learner(rows, true, model_->trainable_unet, given_settings(1e-3), &task, {});
  const auto stages = learner.stages({task.samples(), 1});
  step_of(*stages.front(), {0, 1});
  EXPECT_FALSE(learner.embeddings().equal(rows));
}

}  // namespace
}  // namespace attune

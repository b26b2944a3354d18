#include "attune/tasks/segmenter_tuning.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "tests/support/close.h"
#include "tests/support/stored.h"
#include "tests/tasks/given_samples.h"
#include "tests/tasks/recorded_pictures.h"

namespace attune {
namespace {

using testing_support::kData;
using testing_support::largest_difference;

const std::vector<std::vector<std::int64_t>> kBatches = {{0, 1}, {2, 0}, {1, 3}};

TuningSettings segmenter_settings(const std::vector<std::string>& assignments = {}) {
  Config config(TuningSettings::schema());
  for (const char* one : {"second.epochs=1", "second.lr=0.001", "second.batch_size=2"}) config.set(one, "test");
  for (const std::string& one : assignments) config.set(one, "test");
  return *TuningSettings::read(config);
}

class SegmenterTuning : public testing::Test {
 protected:
  SegmenterTuning() : pictures_(recorded_pictures(folder_.path(), recorded_)) {}

  /// A search that has found `start`, with its second stage.
  struct Tuned {
    Tuned(const SegmenterTuning& test, const TuningSettings& how, const Tensor& start)
        : segmenter(std::make_shared<const ClipSeg>(ClipSeg::load(kData / "clipseg"))),
          task(segmenter, test.folder_.path(), test.pictures_, whole()),
          search(start, OptimSettings(Config(OptimSettings::schema())), &task),
          tuning(search, tuned_segmenter(*segmenter, task, how, 1), how),
          stages(tuning.stages({task.samples(), 1})) {}
    std::vector<Losses> steps(const std::vector<std::vector<std::int64_t>>& batches) {
      return steps_of(*stages[1], batches);
    }

    std::shared_ptr<const ClipSeg> segmenter;
    SegmentationTask task;
    ConceptSearch search;
    ConceptTuning tuning;
    Stages stages;
  };

  Tensor start() const { return recorded_.at("search.start"); }

  TemporaryFolder folder_;
  TensorMap recorded_ = load_tensors(kData / "clipseg.safetensors");
  std::vector<BoxPicture> pictures_;
};

TEST_F(SegmenterTuning, FollowsAnIndependentImplementationStepByStepParity) {
  const TensorMap expected = load_tensors(kData / "segmenter_stage.safetensors");
  Tuned tuned(*this, segmenter_settings(), start());
  const std::vector<Losses> losses = tuned.steps(kBatches);
  for (std::size_t step = 0; step < kBatches.size(); ++step) {
    for (std::size_t i = 0; i < 3; ++i) {
      const Tensor wanted = expected.at("losses")[static_cast<std::int64_t>(step)][static_cast<std::int64_t>(i)];
      EXPECT_NEAR(losses[step].at(i).second, wanted.item<double>(), 1e-5) << step << " " << losses[step][i].first;
    }
  }
  const TensorMap state = tuned.tuning.state();
  EXPECT_GT(largest_difference(state.at("embeddings"), start()), 1e-3);
  EXPECT_LT(largest_difference(state.at("embeddings"), expected.at("embeddings")), 2e-5);
  for (const auto& [name, tensor] : expected) {
    if (name == "losses" || name == "embeddings") continue;
    // Adam divides by the gradient's size, so that rounding moves an entry whose gradient is nearly 0.
    EXPECT_LT(largest_difference(state.at(kChangedSegmenter + name), tensor), 1e-4) << name;
  }
  EXPECT_TRUE(state.at("searched").equal(start()));
}

TEST_F(SegmenterTuning, GoesOnWithTheSameBits) {
  for (const char* tune : {"second.tune=all", "second.tune=lora"}) {
    Tuned at_once(*this, segmenter_settings({tune}), start());
    at_once.steps(kBatches);
    Tuned first(*this, segmenter_settings({tune}), start());
    first.steps({kBatches[0]});
    Tuned second(*this, segmenter_settings({tune}), at::zeros_like(start()));
    second.tuning.load_state(first.tuning.state());
    second.stages[1]->load_state(first.stages[1]->state());
    second.steps({kBatches[1], kBatches[2]});
    const TensorMap wanted = at_once.tuning.state(), found = second.tuning.state();
    ASSERT_EQ(wanted.size(), found.size());
    for (const auto& [name, tensor] : wanted) EXPECT_TRUE(tensor.equal(found.at(name))) << tune << " " << name;
  }
}

TEST_F(SegmenterTuning, WhatIsSavedSegmentsAsWhatWasTrained) {
  const std::vector<std::int64_t> one = {0};
  for (const char* tune : {"second.tune=all", "second.tune=lora"}) {
    Tuned tuned(*this, segmenter_settings({tune, "second.lr=0.01"}), start());
    const double before = tuned.task.loss(start(), one).loss.item<double>();
    tuned.steps(std::vector<std::vector<std::int64_t>>(8, one));
    const ClipSeg loaded = ClipSeg::load(kData / "clipseg", {}, tuned.tuning.state());
    const auto segment = [&](const Tensor& pixels, const Tensor& conditions) {
      return loaded.logits(loaded.look(pixels), conditions);
    };
    const double after = tuned.task.loss_seeing(segment, tuned.search.embeddings(), one).loss.item<double>();
    EXPECT_LT(after, 0.99 * before) << tune;
    EXPECT_NEAR(tuned.steps({one})[0][0].second, after, 1e-4) << tune;
    // The image tower learned, not the embeddings alone.
    const Tensor pixels = at::ones({1, 3, 32, 32});
    EXPECT_GT(largest_difference(loaded.look(pixels)[0], tuned.segmenter->look(pixels)[0]), 1e-3) << tune;
  }
}

TEST_F(SegmenterTuning, BeginsWhereTheSearchEnded) {
  for (const char* tune : {"second.tune=all", "second.tune=lora"}) {
    Tuned tuned(*this, segmenter_settings({tune}), start());
    const double searched = tuned.task.loss(start(), {0, 1}).loss.item<double>();
    EXPECT_NEAR(tuned.steps({{0, 1}})[0][0].second, searched, 1e-5) << tune;
  }
}

TEST_F(SegmenterTuning, KeepsWhatItIsToldToKeep) {
  Tuned kept(*this, segmenter_settings({"second.embeddings=keep"}), start());
  kept.steps(kBatches);
  EXPECT_TRUE(kept.search.embeddings().equal(start()));
  EXPECT_TRUE(kept.tuning.state().contains("segmenter.decoder.film_mul.weight"));
  // Low-rank deltas leave the decoder.
  Tuned low(*this, segmenter_settings({"second.tune=lora"}), start());
  low.steps(kBatches);
  for (const auto& [name, tensor] : low.tuning.state()) EXPECT_FALSE(name.starts_with(kChangedSegmenter)) << name;
  EXPECT_GT(low.tuning.state().at("lora.2.v.up").abs().max().item<double>(), 1e-4);
}

}  // namespace
}  // namespace attune

#include "attune/tasks/detector_tuning.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/tasks/tower_lora.h"
#include "tests/support/close.h"
#include "tests/support/stored.h"
#include "tests/tasks/given_samples.h"

namespace attune {
namespace {

using testing_support::kData;
using testing_support::largest_difference;

const std::vector<std::vector<std::int64_t>> kBatches = {{0, 1}, {2, 0}, {1, 2}};

TuningSettings detector_settings(const std::vector<std::string>& assignments = {}) {
  Config config(TuningSettings::schema());
  for (const char* one : {"second.epochs=1", "second.lr=0.001", "second.batch_size=2"}) config.set(one, "test");
  for (const std::string& one : assignments) config.set(one, "test");
  return *TuningSettings::read(config);
}

/// A search that has found `start`, with its second stage.
struct Tuned {
  explicit Tuned(const TuningSettings& how, const Tensor& start) {
    LoadOptions options;
    options.text = false;
    detector = std::make_shared<const OwlVit>(OwlVit::load(kData / "owl_vit", options));
    const BoxDataset data = open_boxes(kData / "boxes/boxes.json");
    task = std::make_unique<DetectionTask>(detector, data.root, data.all, MatchSettings());
    search = std::make_unique<ConceptSearch>(start, OptimSettings(Config(OptimSettings::schema())), task.get());
    tuning = std::make_unique<ConceptTuning>(*search, tuned_detector(*detector, *task, how, 1), how);
    stages = tuning->stages({task->samples(), 1});
  }
  std::vector<Losses> steps(const std::vector<std::vector<std::int64_t>>& batches) {
    return steps_of(*stages[1], batches);
  }

  std::shared_ptr<const OwlVit> detector;
  std::unique_ptr<DetectionTask> task;
  std::unique_ptr<ConceptSearch> search;
  std::unique_ptr<ConceptTuning> tuning;
  Stages stages;
};

Tensor start() {
  return load_tensors(kData / "expected.safetensors").at("start");
}

TEST(DetectorTuning, FollowsAnIndependentImplementationStepByStepParity) {
  const TensorMap expected = load_tensors(kData / "second_stage.safetensors");
  Tuned tuned(detector_settings(), start());
  const std::vector<Losses> losses = tuned.steps(kBatches);
  for (std::size_t step = 0; step < kBatches.size(); ++step) {
    const auto row = static_cast<std::int64_t>(step);
    EXPECT_NEAR(losses[step][0].second, expected.at("losses")[row].item<double>(), 2e-4) << step;
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(losses[step][1 + i].second, expected.at("terms")[row][static_cast<std::int64_t>(i)].item<double>(),
                  1e-4)
          << step << " " << losses[step][1 + i].first;
    }
  }
  const TensorMap state = tuned.tuning->state();
  EXPECT_LT(largest_difference(state.at("embeddings"), expected.at("embeddings")), 2e-5);
  EXPECT_GT(largest_difference(state.at("embeddings"), start()), 1e-3);
  for (const auto& [name, tensor] : expected) {
    if (name == "batches" || name == "losses" || name == "terms" || name == "embeddings") continue;
    // Adam divides by the gradient's size, so that rounding moves an entry whose gradient is nearly 0.
    EXPECT_LT(largest_difference(state.at(kChangedDetector + name), tensor), 1e-4) << name;
  }
  EXPECT_TRUE(state.at("searched").equal(start()));
}

TEST(DetectorTuning, GoesOnWithTheSameBits) {
  for (const char* tune : {"second.tune=all", "second.tune=lora"}) {
    Tuned whole(detector_settings({tune}), start());
    whole.steps(kBatches);
    Tuned first(detector_settings({tune}), start());
    first.steps({kBatches[0]});
    Tuned second(detector_settings({tune}), at::zeros({2, 32}));
    second.tuning->load_state(first.tuning->state());
    second.stages[1]->load_state(first.stages[1]->state());
    second.steps({kBatches[1], kBatches[2]});
    const TensorMap wanted = whole.tuning->state(), found = second.tuning->state();
    ASSERT_EQ(wanted.size(), found.size());
    for (const auto& [name, tensor] : wanted) EXPECT_TRUE(tensor.equal(found.at(name))) << tune << " " << name;
  }
}

TEST(DetectorTuning, WhatIsSavedSeesWhatWasTrained) {
  const Tensor pixels = load_tensors(kData / "expected.safetensors").at("levels").to(at::kFloat) / 127.5 - 1;
  for (const char* tune : {"second.tune=all", "second.tune=lora"}) {
    Tuned tuned(detector_settings({tune, "second.lr=0.01"}), start());
    const double before =
        tuned.task->loss_seeing([&](const Tensor& p) { return tuned.detector->look(p); }, start(), {0})
            .loss.item<double>();
    tuned.steps({{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}});
    const OwlVit loaded = OwlVit::load(kData / "owl_vit", {}, tuned.tuning->state());
    EXPECT_GT(largest_difference(loaded.look(pixels).boxes, tuned.detector->look(pixels).boxes), 1e-3) << tune;
    const double after =
        tuned.task->loss_seeing([&](const Tensor& p) { return loaded.look(p); }, tuned.search->embeddings(), {0})
            .loss.item<double>();
    EXPECT_LT(after, 0.9 * before) << tune;
    const double next = tuned.steps({{0}})[0][0].second;
    EXPECT_NEAR(next, after, 1e-4) << tune;
  }
}

TEST(DetectorTuning, KeepsTheEmbeddingsWhereItIsToldTo) {
  Tuned tuned(detector_settings({"second.embeddings=keep"}), start());
  tuned.steps(kBatches);
  EXPECT_TRUE(tuned.search->embeddings().equal(start()));
  EXPECT_FALSE(tuned.tuning->state().at("detector.layer_norm.weight").equal(at::ones({40})));
}

TEST(DetectorTuning, HasNoStateOfItsOwnBeforeItBegins) {
  Tuned tuned(detector_settings(), start());
  EXPECT_EQ(tuned.tuning->state().size(), 1u);
  Tuned other(detector_settings(), at::zeros({2, 32}));
  other.tuning->load_state(tuned.tuning->state());
  EXPECT_TRUE(other.search->embeddings().equal(start()));
}

TEST(DetectorTuning, RefusesWhatItCannotDo) {
  for (const char* wrong : {"second.tune=some", "second.embeddings=drop", "second.rank=0", "second.batch_size=0"}) {
    EXPECT_THROW(detector_settings({wrong}), UsageError) << wrong;
  }
  EXPECT_FALSE(TuningSettings::read(Config(TuningSettings::schema())).has_value());
  EXPECT_THROW(Tuned(detector_settings({"second.tune=lora", "second.rank=41"}), start()), UsageError);
}

TEST(ConceptSearch, AnOffsetMovesAsTheEmbeddingsDoUnlessWeightsDecay) {
  Config config(OptimSettings::schema({{"optim.name", "adamw"}, {"optim.lr", 0.05}, {"optim.warmup", "none"}}));
  const auto ended = [&](ConceptSearch::Form form, double decay) {
    config.set("optim.weight_decay", Json(decay), "test");
    Tuned tuned(detector_settings(), start());
    ConceptSearch search(start(), OptimSettings(config), tuned.task.get(), form);
    const Stages stages = search.stages({3, 1});
    steps_of(*stages[0], kBatches);
    return search.embeddings();
  };
  using Form = ConceptSearch::Form;
  EXPECT_LT(largest_difference(ended(Form::kEmbeddings, 0), ended(Form::kOffset, 0)), 1e-5);
  EXPECT_GT(largest_difference(ended(Form::kEmbeddings, 0), start()), 0.05);
  EXPECT_GT(largest_difference(ended(Form::kEmbeddings, 1), ended(Form::kOffset, 1)), 1e-2);
}

TEST(ConceptSearch, AnOffsetGoesOnWithTheSameBits) {
  const OptimSettings plain{Config(OptimSettings::schema())};
  ConceptSearch search(start(), plain, nullptr, ConceptSearch::Form::kOffset);
  TensorMap state = search.state();
  EXPECT_TRUE(state.at("embeddings").equal(start()));
  state["offset"] = at::full({2, 32}, 0.1F);
  search.load_state(state);
  EXPECT_TRUE(search.embeddings().equal(start() + 0.1F));
  EXPECT_TRUE(search.state().at("offset").equal(state.at("offset")));
}

TEST(ConceptSearch, OfSeveralEmbeddingsTheBestCounts) {
  LoadOptions options;
  options.text = false;
  const OwlVit detector = OwlVit::load(kData / "owl_vit", options);
  const Sight sight = detector.look(at::zeros({1, 3, 64, 64}));
  const Tensor several = several_concepts(start(), 3, 7);
  ASSERT_EQ(several.sizes(), (std::vector<std::int64_t>{2, 3, 32}));
  EXPECT_TRUE(several.select(1, 0).equal(start()));
  EXPECT_GT(largest_difference(several.select(1, 1), start()), 1e-2);
  const Tensor logits = owl_logits(sight, several);
  ASSERT_EQ(logits.sizes(), (std::vector<std::int64_t>{1, 16, 2}));
  const Tensor each = at::stack({owl_logits(sight, several.select(1, 0)), owl_logits(sight, several.select(1, 1)),
                                 owl_logits(sight, several.select(1, 2))});
  EXPECT_TRUE(logits.allclose(each.amax(0), 1e-5, 1e-6));
}

}  // namespace
}  // namespace attune

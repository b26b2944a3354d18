#include "attune/training/trainer.h"

#include <set>

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/encode.h"
#include "attune/methods/registry.h"
#include "attune/tensors/device.h"
#include "attune/training/checkpoint.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// Two classes of ten pictures.
class Trainer : public testing::Test {
 protected:
  Trainer() {
    dataset_.classes = {"dark", "bright"};
    dataset_.domains = {""};
    dataset_.root = folder_.path();
    for (int i = 0; i < 20; ++i) {
      KeyedRandom random(1, "pixels", static_cast<std::uint64_t>(i));
      Image image{34, 32, {}};
      for (int p = 0; p < 34 * 32 * 3; ++p)
        image.rgb.push_back(static_cast<std::uint8_t>(random.below(128) + (i % 2) * 120));
      const std::string name = std::to_string(i) + ".png";
      write_file(folder_.path() / name, encode_png(image));
      Sample sample;
      sample.path = name;
      sample.label = i % 2;
      dataset_.train.push_back(sample);
    }
  }

  Inputs inputs(const std::string& cache = "", bool skip_broken = false) {
    InputOptions options;
    options.skip_broken = skip_broken;
    if (!cache.empty()) options.cache = folder_.path() / cache;
    return {small_model(), dataset_, dataset_.train, options};
  }

  std::unique_ptr<Classifier> learner(const std::string& epochs = "4") {
    const Method& coop = find_method("coop");
    Config config(coop.schema);
    config.set("epochs", Json(std::stoi(epochs)), "test");
    config.set("batch_size", Json(4), "test");
    config.set("optim.lr", Json(0.05), "test");
    return coop.make(small_model(), {dataset_.classes}, config, 1);
  }

  TrainSettings settings(const std::vector<std::string>& assignments = {}) {
    Config config(TrainSettings::schema());
    for (const std::string& one : assignments) config.set(one, "test");
    return TrainSettings(config);
  }

  TrainRun run(const std::string& name) {
    TrainRun run;
    run.folder = folder_.path() / name;
    run.fingerprint = "f";
    return run;
  }

  static TrainOutcome learn(Classifier& classifier, Inputs& training, Inputs* validation, const TrainSettings& settings,
                            const TrainRun& run) {
    return train(classifier, classifier.stages({training.size(), run.seed}), training, validation, settings, run);
  }

  TemporaryFolder folder_;
  Dataset dataset_;
};

TEST_F(Trainer, LearnsToTellTwoClassesApart) {
  Inputs training = inputs();
  const auto classifier = learner("25");
  const double before = accuracy(*classifier, training);
  EXPECT_EQ(learn(*classifier, training, nullptr, settings({"views.kind=centre"}), run("run")),
            TrainOutcome::kFinished);
  EXPECT_GT(accuracy(*classifier, training), std::max(0.9, before - 1e-9));
}

TEST_F(Trainer, GivesTheSameBitsWithAndWithoutTheFeatureCache) {
  Inputs plain = inputs(), first = inputs("cache"), second = inputs("cache");
  const auto a = learner(), b = learner(), c = learner();
  learn(*a, plain, nullptr, settings(), run("a"));
  learn(*b, first, nullptr, settings(), run("b"));
  learn(*c, second, nullptr, settings(), run("c"));
  EXPECT_TRUE(a->state().at("context").equal(b->state().at("context")));
  EXPECT_TRUE(a->state().at("context").equal(c->state().at("context")));
  EXPECT_GT(first.computed(), 0);
  EXPECT_EQ(second.computed(), 0);
}

TEST_F(Trainer, FeaturesAreTheSameBitsForAnyNumberOfThreads) {
  std::vector<Sample> many;
  for (int i = 0; i < 5; ++i) many.insert(many.end(), dataset_.train.begin(), dataset_.train.end());
  const auto features = [&](int loader_threads, int threads) {
    set_threads(threads);
    InputOptions options;
    options.loader_threads = loader_threads;
    Inputs inputs(small_model(), dataset_, many, options);
    const Tensor found = inputs.features(1).clone();
    EXPECT_EQ(inputs.computed(), 100);
    EXPECT_EQ(at::get_num_threads(), threads);
    set_threads(1);
    return found;
  };
  const Tensor expected = features(1, 1);
  EXPECT_TRUE(features(2, 1).equal(expected));
  EXPECT_TRUE(features(1, 2).equal(expected));
  EXPECT_TRUE(features(2, 2).equal(expected));
  // The first rows of each round of the list are those of the first round: rows are where they belong.
  for (int i = 1; i < 5; ++i) EXPECT_TRUE(at::allclose(expected.narrow(0, 20 * i, 20), expected.narrow(0, 0, 20)));
}

TEST_F(Trainer, ABrokenPictureIsAnErrorThatNamesItWhileOthersAreEncodedBesideIt) {
  write_file(folder_.path() / "5.png", "no picture");
  std::vector<Sample> many;
  for (int i = 0; i < 5; ++i) many.insert(many.end(), dataset_.train.begin(), dataset_.train.end());
  set_threads(2);
  InputOptions options;
  options.loader_threads = 2;
  Inputs inputs(small_model(), dataset_, many, options);
  EXPECT_THAT([&] { inputs.features(0); }, ThrowsMessage<Error>(HasSubstr("5.png")));
  EXPECT_EQ(at::get_num_threads(), 2);
  set_threads(1);
}

TEST_F(Trainer, AsksForTheContentOfAPictureOnlyOnce) {
  Inputs first = inputs("cache");
  const Tensor expected = first.features(1).clone();
  first.features(0);
  Inputs second = inputs("cache");
  second.features(0);
  for (const Sample& sample : dataset_.train) std::filesystem::remove(dataset_.path_of(sample));
  EXPECT_TRUE(second.features(1).equal(expected));
  EXPECT_EQ(second.computed(), 0);
}

TEST_F(Trainer, KeepsPicturesAndCachedFeaturesTogetherWhereBrokenOnesAreLeftOut) {
  write_file(folder_.path() / "5.png", "no picture");
  Inputs plain = inputs("", true), first = inputs("cache", true), second = inputs("cache", true);
  EXPECT_EQ(first.size(), 19);
  for (const std::int64_t view : {0, 1}) {
    EXPECT_TRUE(first.features(view).equal(plain.features(view)));
    EXPECT_TRUE(second.features(view).equal(plain.features(view)));
  }
  EXPECT_EQ(second.computed(), 0);
}

TEST_F(Trainer, AFixedOrderOfOneBatchAStepDecidesTheBatches) {
  write_file(folder_.path() / "order.jsonl", "[0, 1]\n[2, 3]\n");
  const auto order = read_order(folder_.path() / "order.jsonl", 20);
  ASSERT_EQ(order.size(), 2u);
  EXPECT_EQ(order[1], (std::vector<std::int64_t>{2, 3}));
  write_file(folder_.path() / "bad.jsonl", "[0, 20]\n");
  EXPECT_THAT([&] { read_order(folder_.path() / "bad.jsonl", 20); },
              ThrowsMessage<Error>(AllOf(HasSubstr("bad.jsonl line 1"), HasSubstr("20"))));
  Inputs training = inputs();
  const auto classifier = learner();
  TrainRun short_run = run("short");
  short_run.order = order;
  EXPECT_THAT([&] { learn(*classifier, training, nullptr, settings(), short_run); },
              ThrowsMessage<UsageError>(HasSubstr("--order: expected 20 batches")));
}

TEST_F(Trainer, KeepsTheBestEpochOnValidation) {
  Inputs training = inputs(), validation = inputs();
  const auto classifier = learner();
  learn(*classifier, training, &validation, settings({"selection=validation", "views.kind=centre"}), run("run"));
  double best = 0;
  for (const std::string& line : read_lines(folder_.path() / "run" / "metrics.jsonl")) {
    const Json json = parse_json(line, "metrics");
    if (json["kind"] == "epoch") best = std::max(best, json["validation_acc1"].get<double>());
  }
  EXPECT_DOUBLE_EQ(accuracy(*classifier, validation), best);
  EXPECT_THAT([&] { learn(*classifier, training, nullptr, settings({"selection=validation"}), run("none")); },
              ThrowsMessage<UsageError>(HasSubstr("no validation samples")));
}

TEST_F(Trainer, RefusesACheckpointOfAnotherRun) {
  Inputs training = inputs();
  const auto classifier = learner();
  learn(*classifier, training, nullptr, settings(), run("run"));
  TrainRun other = run("run");
  other.resume = true;
  other.fingerprint = "g";
  EXPECT_THAT([&] { learn(*classifier, training, nullptr, settings(), other); },
              ThrowsMessage<UsageError>(HasSubstr("another configuration")));
}

TEST(ViewPlan, DrawsCachedViewsByKeyAndFreshOnesByEpoch) {
  ViewPlan plan;
  EXPECT_EQ(plan.view(1, 0, 5), 1);
  EXPECT_EQ(plan.view(1, 9, 5), 10);
  plan.kind = ViewPlan::Kind::kCached;
  std::set<std::int64_t> seen;
  for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
    const std::int64_t view = plan.view(1, epoch, 5);
    EXPECT_EQ(view, plan.view(1, epoch, 5));
    seen.insert(view);
  }
  EXPECT_EQ(seen, (std::set<std::int64_t>{0, 1, 2, 3, 4}));
  plan.kind = ViewPlan::Kind::kCentre;
  EXPECT_EQ(plan.view(1, 3, 5), 0);
}

}  // namespace
}  // namespace attune

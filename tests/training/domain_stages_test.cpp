#include <set>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/encode.h"
#include "attune/methods/registry.h"
#include "attune/training/estimate.h"
#include "attune/training/trainer.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// A learner of nothing, for stages that only look at what they are given.
class Nothing final : public Classifier {
 public:
  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames&) override {}
  Tensor logits(const Batch& batch) override { return at::zeros({batch.image_features.size(0), 2}); }
  TensorMap state() const override { return {}; }
  void load_state(const TensorMap&) override {}
  Stages stages(const TrainingData&) override { return {}; }
};

/// Takes two batches a step and keeps their samples and domains.
class Watcher final : public Stage {
 public:
  explicit Watcher(std::int64_t domain) : domain_(domain) {}
  std::string name() const override { return "watcher"; }
  int epochs() const override { return 2; }
  std::int64_t batch_size() const override { return 4; }
  StepCost cost() const override { return {.contexts = 1}; }
  void begin_epoch(int) override {}
  double learning_rate() const override { return 0; }
  TensorMap state() const override { return {}; }
  void load_state(const TensorMap&) override {}
  std::int64_t domain() const override { return domain_; }
  Losses step(BatchSource& batches) override {
    first.push_back(batches.next());
    second.push_back(batches.next());
    return {{"loss", 0.0}};
  }
  Tensor validation_logits(const Batch& batch) override {
    validated = batch.samples;
    return at::zeros({batch.image_features.size(0), 2});
  }

  std::vector<Batch> first, second;
  std::vector<std::int64_t> validated;

 private:
  std::int64_t domain_;
};

/// Twenty pictures of two classes and three domains; "c" has a single one.
class DomainStages : public testing::Test {
 protected:
  DomainStages() {
    dataset_.classes = {"dark", "bright"};
    dataset_.domains = {"a", "b", "c"};
    dataset_.root = folder_.path();
    for (int i = 0; i < 20; ++i) {
      KeyedRandom random(1, "pixels", static_cast<std::uint64_t>(i));
      Image image{32, 32, {}};
      for (int p = 0; p < 32 * 32 * 3; ++p)
        image.rgb.push_back(static_cast<std::uint8_t>(random.below(128) + (i % 2) * 120));
      Sample sample;
      sample.path = std::to_string(i) + ".png";
      sample.label = i % 2;
      sample.domain = i == 19 ? 2 : (i / 2) % 2;
      write_file(dataset_.path_of(sample), encode_png(image));
      dataset_.train.push_back(sample);
    }
  }

  Inputs inputs(const std::vector<Sample>& samples) const { return {small_model(), dataset_, samples, {}}; }

  static TrainSettings settings(const std::string& selection) {
    Config config(TrainSettings::schema());
    config.set("selection", Json(selection), "test");
    config.set("views.kind", Json("centre"), "test");
    return TrainSettings(config);
  }

  TrainRun run(const std::string& name) const {
    TrainRun run;
    run.folder = folder_.path() / name;
    return run;
  }

  /// The one stage of a run over the samples, validated on them too.
  Watcher& watch(std::int64_t domain, Inputs* validation = nullptr) {
    Inputs training = inputs(dataset_.train);
    stages_.clear();
    stages_.push_back(std::make_unique<Watcher>(domain));
    Nothing nothing;
    train(nothing, stages_, training, validation, settings(validation == nullptr ? "last" : "validation"),
          run("watch " + std::to_string(runs_++)));
    return static_cast<Watcher&>(*stages_[0]);
  }

  TemporaryFolder folder_;
  Dataset dataset_;
  Stages stages_;
  int runs_ = 0;
};

TEST_F(DomainStages, AStageOfADomainIsTrainedAndValidatedOnItsSamplesAlone) {
  Inputs validation = inputs(dataset_.train);
  Watcher& watcher = watch(1, &validation);
  ASSERT_EQ(watcher.first.size(), 4u);  // nine samples are two batches of four, twice
  for (const auto* batches : {&watcher.first, &watcher.second}) {
    for (const Batch& batch : *batches) {
      EXPECT_TRUE(batch.domains.eq(1).all().item<bool>());
      EXPECT_EQ(std::set(batch.samples.begin(), batch.samples.end()).size(), 4u);
    }
  }
  EXPECT_EQ(watcher.validated.size(), 9u);
  for (const std::int64_t sample : watcher.validated) {
    EXPECT_EQ(dataset_.train[static_cast<std::size_t>(sample)].domain, 1);
  }
}

TEST_F(DomainStages, TheSecondBatchOfAStepIsOfAPassOfItsOwn) {
  const Watcher& watcher = watch(-1);
  ASSERT_EQ(watcher.second.size(), 10u);
  std::set<std::int64_t> seen;
  int equal = 0;
  for (std::size_t step = 0; step < 5; ++step) {
    seen.insert(watcher.second[step].samples.begin(), watcher.second[step].samples.end());
    if (watcher.first[step].samples == watcher.second[step].samples) ++equal;
  }
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_EQ(equal, 0);
  EXPECT_NE(watcher.second[0].samples, watcher.second[5].samples) << "another epoch has another order";
  const std::vector<std::int64_t> expected = watcher.second[3].samples;
  EXPECT_EQ(watch(-1).second[3].samples, expected);
}

TEST_F(DomainStages, ADomainWithoutSamplesIsAnErrorThatNamesTheStage) {
  std::vector<Sample> without_c(dataset_.train.begin(), dataset_.train.end() - 1);
  Inputs validation = inputs(without_c);
  EXPECT_THAT([&] { watch(2, &validation); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("no validation samples for watcher"), HasSubstr("selection"))));
  EXPECT_THAT([&] { watch(7); }, ThrowsMessage<Error>(HasSubstr("training samples for watcher, found none")));
}

TEST_F(DomainStages, TrainingDataTellDomainsAndTheirSamples) {
  Inputs training = inputs(dataset_.train), none = inputs({});
  const TrainingData data = training_data(training, &none, 5);
  ASSERT_EQ(data.domains.size(), 3u);
  EXPECT_EQ(data.domains[0].name, "a");
  EXPECT_EQ(data.domains[0].samples, 10);
  EXPECT_EQ(data.domains[2].samples, 1);
  EXPECT_FALSE(data.validation);
  dataset_.domains = {""};
  Inputs plain = inputs(dataset_.train);
  EXPECT_TRUE(training_data(plain, &plain, 5).domains.empty());
  EXPECT_FALSE(whole_batch(plain).domains.defined());
}

/// Ends a run in the middle of a step, as a kill does.
class Killer final : public Progress {
 public:
  explicit Killer(int updates) : left_(updates) {}
  void update(std::int64_t, std::int64_t, std::string_view) override {
    if (left_-- == 0) throw Error("killed");
  }

 private:
  int left_;
};

TEST_F(DomainStages, SpgKilledInEveryStageAndResumedEndsWithTheSameBits) {
  const Method& spg = find_method("spg");
  Config config(spg.schema);
  for (const char* one : {"labels.epochs=3", "epochs=3", "batch_size=4", "labels.lr=0.02"}) config.set(one, "test");
  dataset_.train.pop_back();
  Inputs training = inputs(dataset_.train), validation = inputs(dataset_.train);
  const auto learn = [&](const std::string& name, int updates) {
    Killer killer(updates);
    TrainRun own = run(name);
    own.resume = true;
    own.checkpoint_interval = std::chrono::seconds(0);
    own.progress = &killer;
    const auto classifier = spg.make(small_model(), {dataset_.classes}, config, 1);
    train(*classifier, classifier->stages(training_data(training, &validation, 1)), training, &validation,
          settings("validation"), own);
    TensorMap state;
    for (const auto& [tensor_name, tensor] : classifier->state()) state[tensor_name] = tensor.clone();
    return state;
  };
  const TensorMap expected = learn("whole", -1);
  EXPECT_TRUE(expected.contains("labels.a"));
  EXPECT_FALSE(expected.contains("labels.c"));
  int kills = 0;
  TensorMap found;
  for (; found.empty() && kills < 30; ++kills) {
    try {
      found = learn("parts", 3);
    } catch (const Error& error) {
      ASSERT_STREQ(error.what(), "killed");
    }
  }
  EXPECT_GT(kills, 5);
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(tensor.equal(found.at(name))) << name;
}

TEST_F(DomainStages, AreEstimatedWithTheSamplesOfTheirDomain) {
  const auto model = small_model();
  const auto seconds = [&](std::int64_t domain, std::int64_t of_domain) {
    Stages stages;
    stages.push_back(std::make_unique<Watcher>(domain));
    const auto samples = [&](std::int64_t asked) { return asked < 0 ? std::int64_t{4000} : of_domain; };
    const Estimate estimate = estimate_training(*model, {dataset_.classes}, {}, stages, samples, {});
    return std::pair(estimate.training_seconds, estimate.feature_seconds);
  };
  const auto all = seconds(-1, 0), one = seconds(0, 40);
  // 1,000 steps against 10; the machine's speed is measured anew each time.
  EXPECT_GT(all.first / one.first, 10.0);
  EXPECT_LT(all.second / one.second, 10.0);
}

}  // namespace
}  // namespace attune

#include "attune/methods/spg.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/log.h"
#include "attune/methods/adapter.h"
#include "attune/methods/generator.h"
#include "attune/methods/zero_shot.h"
#include "tests/methods/recorded_steps.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::int64_t kSamples = 24;

Config configured(const std::vector<std::string>& assignments) {
  Config config(spg_method().schema);
  for (const char* one : {"labels.epochs=2", "epochs=3", "batch_size=6"}) config.set(one, "test");
  for (const std::string& one : assignments) config.set(one, "test");
  return config;
}

std::unique_ptr<Classifier> make_spg(const std::vector<std::string>& assignments = {}) {
  return spg_method().make(small_model(), {{"dog", "cat on a mat", "owl"}}, configured(assignments), 1);
}

TrainingData training_data() {
  return {kSamples, 1, nullptr, {{"art", 12}, {"never shown", 0}, {"photo", 12}}};
}

/// Samples of two domains, 0 and 2, in turn; a stage that wants one domain gets only its samples.
class Samples final : public BatchSource {
 public:
  explicit Samples(std::int64_t domain) : domain_(domain) {
    KeyedRandom random(3, "features");
    features_ = normal({kSamples, small_model()->config.joint_width}, 0, 1, random);
  }

  Batch next() override {
    Batch batch;
    std::vector<std::int64_t> labels, domains;
    for (; batch.samples.size() < 6; ++next_) {
      const std::int64_t sample = next_ % kSamples, domain = 2 * (sample % 2);
      if (domain_ >= 0 && domain != domain_) continue;
      batch.samples.push_back(sample);
      labels.push_back(sample % 3);
      domains.push_back(domain);
    }
    batch.image_features = features_.index_select(0, at::tensor(batch.samples, at::kLong));
    batch.labels = at::tensor(labels, at::kLong);
    batch.domains = at::tensor(domains, at::kLong);
    return batch;
  }

 private:
  std::int64_t domain_, next_ = 0;
  Tensor features_;
};

constexpr int kStepsAnEpoch = 2;

void train_epochs(Stage& stage, Samples& samples, int first, int last) {
  for (int epoch = first; epoch < last; ++epoch) {
    stage.begin_epoch(epoch);
    for (int step = 0; step < kStepsAnEpoch; ++step) stage.step(samples);
  }
}

void train_spg(const Stages& stages) {
  for (const auto& stage : stages) {
    Samples samples(stage->domain());
    train_epochs(*stage, samples, 0, stage->epochs());
  }
}

Batch some_batch(std::int64_t count) {
  KeyedRandom random(4, "features");
  Batch batch{normal({count, small_model()->config.joint_width}, 0, 1, random), {}, {}};
  for (std::int64_t i = 0; i < count; ++i) batch.content.push_back(40 + static_cast<std::uint64_t>(i));
  return batch;
}

Batch part(const Batch& batch, std::int64_t first, std::int64_t count) {
  return {batch.image_features.narrow(0, first, count),
          {},
          {},
          {},
          {},
          {},
          {batch.content.begin() + first, batch.content.begin() + first + count}};
}

/// What the library logs while it lives.
class Log {
 public:
  Log() {
    set_log_sink([this](Severity severity, std::string_view text) {
      (severity == Severity::kWarning ? warnings : infos) += std::string(text) + "\n";
    });
  }
  ~Log() { set_log_sink({}); }
  std::string infos, warnings;
};

TEST(Spg, LearnsALabelForEveryDomainThatHasSamplesThenTheGenerator) {
  const auto learner = make_spg();
  const Stages stages = learner->stages(training_data());
  ASSERT_EQ(stages.size(), 3u);
  EXPECT_EQ(stages[0]->name(), "label art");
  EXPECT_EQ(stages[1]->name(), "label photo");
  EXPECT_EQ(stages[2]->name(), "generator");
  EXPECT_THAT((std::vector{stages[0]->domain(), stages[1]->domain(), stages[2]->domain()}), ElementsAre(0, 2, -1));
  const TensorMap before = copied(learner->state());
  EXPECT_FALSE(before.contains("labels.never shown"));
  EXPECT_TRUE(before.at("labels.art").equal(before.at("labels.photo")));
  train_spg(stages);
  const TensorMap after = learner->state();
  EXPECT_FALSE(after.at("labels.art").equal(after.at("labels.photo")));
  for (const auto& [name, tensor] : before) EXPECT_FALSE(tensor.equal(after.at(name))) << name;
}

TEST(Spg, ALabelStartsAsTheWordsAndIsJudgedByItself) {
  const auto learner = make_spg();
  const Stages stages = learner->stages(training_data());
  const auto words =
      zero_shot_method().make(small_model(), {{"dog", "cat on a mat", "owl"}}, Config(zero_shot_method().schema), 1);
  const Batch batch = some_batch(5);
  EXPECT_LT((stages[0]->validation_logits(batch) - words->logits(batch)).abs().max().item<double>(), 1e-4);
  EXPECT_FALSE(stages[2]->validation_logits(batch).defined());
}

TEST(Spg, DataWithoutDomainsAreOneDomain) {
  const auto learner = make_spg();
  const Stages stages = learner->stages({kSamples, 1});
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0]->domain(), -1);
  EXPECT_TRUE(learner->state().contains("labels.all"));
}

TEST(Spg, ADrawDoesNotDependOnItsNeighbours) {
  for (const char* draws : {"draws=1", "draws=3"}) {
    const auto learner = make_spg({draws});
    const Batch batch = some_batch(21);
    const Tensor together = learner->logits(batch);
    EXPECT_EQ(together.sizes(), (std::vector<std::int64_t>{21, 3}));
    EXPECT_TRUE(together.equal(learner->logits(batch)));
    for (std::int64_t i = 0; i < 21; ++i) {
      EXPECT_LT((learner->logits(part(batch, i, 1)) - together.narrow(0, i, 1)).abs().max().item<double>(), 1e-4);
    }
    Batch renamed = batch;
    for (std::uint64_t& key : renamed.content) key += 100;
    EXPECT_GT((learner->logits(renamed) - together).abs().max().item<double>(), 1e-3) << "noise ignores the sample";
  }
  EXPECT_THAT(
      [] {
        make_spg()->logits({some_batch(2).image_features, {}, {}});
      },
      ThrowsMessage<Error>(HasSubstr("content keys of 2 pictures")));
}

TEST(Spg, LogitsOfSeveralDrawsAreTheirMean) {
  const auto one = make_spg(), many = make_spg({"draws=64"});
  const Batch batch = some_batch(2);
  Tensor sum = at::zeros({2, 3}, at::kDouble);
  constexpr int kRepeats = 64;
  for (int i = 0; i < kRepeats; ++i) {
    Batch other = batch;
    for (std::uint64_t& key : other.content) key += 1000 * static_cast<std::uint64_t>(i + 1);
    sum += one->logits(other);
  }
  const Tensor spread = (one->logits(batch) - sum / kRepeats).abs();
  const Tensor distance = (many->logits(batch) - sum / kRepeats).abs();
  EXPECT_LT(distance.mean().item<double>(), 0.5 * spread.mean().item<double>());
}

TEST(Spg, AResumedStageContinuesWithTheSameBits) {
  const auto whole = make_spg();
  train_spg(whole->stages(training_data()));

  const auto first = make_spg();
  const Stages stages = first->stages(training_data());
  auto resumed = make_spg();
  Stages others = resumed->stages(training_data());
  for (std::size_t s = 0; s < stages.size(); ++s) {
    Samples samples(stages[s]->domain());
    train_epochs(*stages[s], samples, 0, 1);
    resumed->load_state(copied(first->state()));
    others[s]->load_state(copied(stages[s]->state()));
    train_epochs(*others[s], samples, 1, others[s]->epochs());
    first->load_state(copied(resumed->state()));
  }
  for (const auto& [name, tensor] : whole->state()) EXPECT_TRUE(tensor.equal(resumed->state().at(name))) << name;
}

TEST(Spg, ReportsTheLargestEntryOfEveryLabelAndWarnsOutsideOfOne) {
  const auto learner = make_spg();
  const Stages stages = learner->stages(training_data());
  learner->state().at("labels.photo")[1][2] = -1.25;
  const Log log;
  stages.back()->begin_epoch(0);
  EXPECT_THAT(log.infos, AllOf(HasSubstr("art 0."), HasSubstr("photo 1.250")));
  EXPECT_THAT(log.warnings, AllOf(HasSubstr("photo has entries up to 1.250"), Not(HasSubstr("art"))));
}

TEST(Spg, AnAdapterKeepsItsLabelsAndAnotherRunReusesThem) {
  const TemporaryFolder folder;
  const auto learner = make_spg();
  train_spg(learner->stages(training_data()));
  const ClassNames classes{{"dog", "cat on a mat", "owl"}};
  const auto save = [&](const std::string& name, const std::string& hash) {
    save_adapter(folder.path() / name, {"spg", configured({}).to_json(), "tiny", hash, classes, "", "", 1, nullptr, ""},
                 *learner);
    return "labels.from=" + (folder.path() / name).string();
  };
  const std::string from = save("adapter", small_model()->weight_hash());
  const auto loaded = load_adapter(folder.path() / "adapter", small_model());
  EXPECT_TRUE(loaded->logits(some_batch(4)).equal(learner->logits(some_batch(4))));

  const auto again = make_spg({from});
  const Stages stages = again->stages(training_data());
  ASSERT_EQ(stages.size(), 1u);
  EXPECT_TRUE(again->state().at("labels.photo").equal(learner->state().at("labels.photo")));
  const auto other = make_spg({from});
  EXPECT_THAT(
      [&] {
        other->stages({kSamples, 1, nullptr, {{"sketch", 24}}});
      },
      ThrowsMessage<UsageError>(AllOf(HasSubstr("\"sketch\""), HasSubstr("art, photo"))));
  const auto foreign = make_spg({save("foreign", std::string(64, 'f'))});
  EXPECT_THAT([&] { foreign->stages(training_data()); }, ThrowsMessage<Error>(HasSubstr(std::string(64, 'f'))));
}

TEST(Spg, NamesNewClasses) {
  const auto learner = make_spg();
  EXPECT_TRUE(learner->open_vocabulary());
  learner->set_classes({{"a", "b", "c", "d", "e"}});
  EXPECT_EQ(learner->logits(some_batch(2)).size(1), 5);
}

TEST(Spg, PresetsSayWhatTheReleaseLeavesOpen) {
  const auto rate = [](const std::vector<std::string>& assignments, std::size_t stage, int epoch) {
    const auto learner = make_spg(assignments);
    const Stages stages = learner->stages(training_data());
    stages[stage]->begin_epoch(epoch);
    return stages[stage]->learning_rate();
  };
  const std::string commented = "preset=as-commented", run = "preset=as-run";
  EXPECT_DOUBLE_EQ(rate({commented}, 2, 4), 2e-4);
  EXPECT_DOUBLE_EQ(rate({run}, 2, 4), 2e-3);
  EXPECT_DOUBLE_EQ(rate({run, "optim.lr=0.01"}, 2, 4), 0.01);
  EXPECT_DOUBLE_EQ(rate({run}, 2, 0), 1e-5);
  EXPECT_DOUBLE_EQ(rate({commented}, 0, 1), 2e-3);
  EXPECT_DOUBLE_EQ(rate({run}, 0, 1), 1e-5);
  EXPECT_THAT([] { make_spg({"preset=published"}); }, ThrowsMessage<UsageError>(HasSubstr("as-commented or as-run")));
  EXPECT_THAT([] { make_spg({"draws=0"}); }, ThrowsMessage<UsageError>(HasSubstr("draws")));
  EXPECT_THAT([] { make_spg({"context.init="}); }, ThrowsMessage<UsageError>(HasSubstr("context.init")));
  EXPECT_THAT([] { make_spg({"optim.lr=fast"}); }, ThrowsMessage<UsageError>(HasSubstr("optim.lr")));
}

}  // namespace
}  // namespace attune

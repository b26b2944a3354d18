#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/methods/adapter.h"
#include "tests/support/close.h"
#include "tests/support/small_model.h"

namespace attune {

using testing_support::largest_difference;

/// Steps of an independent implementation: the tensors "features", "labels", "batches" (rows of sample numbers),
/// "domains", "pixels" and "local_features" where there are any, "losses", "terms" where the loss has several,
/// "start.*" and "final.*".
struct RecordedSteps {
  /// `inputs`: a file with the tensors that several methods share.
  explicit RecordedSteps(const std::string& name, const std::string& inputs = "") {
    const std::string file = std::string(ATTUNE_TEST_DATA) + "/" + name + ".safetensors";
    data = load_tensors(file);
    if (!inputs.empty()) data.merge(load_tensors(std::string(ATTUNE_TEST_DATA) + "/" + inputs + ".safetensors"));
    const auto metadata = SafetensorsFile(file).metadata();
    classes.names = parse_json(metadata.at("names"), "names").get<std::vector<std::string>>();
    classes.prompt_template = metadata.at("template");
    start = part_of_state(data, "start.");
    final = part_of_state(data, "final.");
  }

  std::int64_t steps() const { return data.at("batches").size(0); }
  TrainingData training() const { return {data.at("features").size(0), 1}; }
  Batch whole() const {
    Batch batch{data.at("features"), data.at("labels"), {}};
    if (data.contains("domains")) batch.domains = data.at("domains");
    if (data.contains("pixels")) batch.pixels = data.at("pixels");
    if (data.contains("local_features")) batch.local_features = data.at("local_features");
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      batch.samples.push_back(i);
      batch.content.push_back(static_cast<std::uint64_t>(i));
    }
    return batch;
  }

  TensorMap data, start, final;
  ClassNames classes;
};

/// A method with the settings of its recorded steps, of which four are an epoch.
struct RecordedCase {
  std::string name;  // of the file
  Method method;
  std::vector<std::string> settings;
};

/// Tests of methods whose recorded steps share their inputs.
class RecordedMethods : public testing::TestWithParam<RecordedCase> {
 protected:
  explicit RecordedMethods(const std::string& inputs) : recorded_(GetParam().name, inputs) {}

  /// With `more` settings behind the case's own, at the recorded start.
  std::unique_ptr<Classifier> make(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> settings = GetParam().settings;
    settings.insert(settings.end(), more.begin(), more.end());
    auto learner = make_small(GetParam().method, settings, recorded_.classes);
    learner->load_state(recorded_.start);
    return learner;
  }

  RecordedSteps recorded_;
};

/// Hands out the recorded batches, from `first` on.
class RecordedBatches final : public BatchSource {
 public:
  explicit RecordedBatches(const RecordedSteps& recorded, std::int64_t first = 0)
      : whole_(recorded.whole()), batches_(recorded.data.at("batches")), next_(first) {}
  Batch next() override {
    const Tensor index = batches_[next_++];
    Batch batch{whole_.image_features.index_select(0, index), whole_.labels.index_select(0, index), {}};
    if (whole_.domains.defined()) batch.domains = whole_.domains.index_select(0, index);
    if (whole_.pixels.defined()) batch.pixels = whole_.pixels.index_select(0, index);
    if (whole_.local_features.defined()) batch.local_features = whole_.local_features.index_select(0, index);
    for (std::int64_t i = 0; i < index.numel(); ++i) batch.samples.push_back(index[i].item<std::int64_t>());
    return batch;
  }

 private:
  Batch whole_;
  Tensor batches_;
  std::int64_t next_;
};

inline TensorMap copied(TensorMap state) {
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  return state;
}

/// Takes the recorded steps [first, last) with `stage`, `an_epoch` of them in an epoch.
inline std::vector<Losses> take_steps(Stage& stage, const RecordedSteps& recorded, int an_epoch, std::int64_t first,
                                      std::int64_t last) {
  RecordedBatches batches(recorded, first);
  std::vector<Losses> losses;
  for (std::int64_t step = first; step < last; ++step) {
    if (step == first || step % an_epoch == 0) stage.begin_epoch(static_cast<int>(step / an_epoch));
    losses.push_back(stage.step(batches));
    if ((step + 1) % an_epoch == 0) stage.end_epoch(static_cast<int>(step / an_epoch));
  }
  return losses;
}

/// Follows all recorded steps with the stage and expects its losses and, from the place `first_term` on, their terms.
inline void expect_recorded_losses(Stage& stage, const RecordedSteps& recorded, int an_epoch, double tolerance,
                                   std::size_t first_term = 2) {
  const std::vector<Losses> found = take_steps(stage, recorded, an_epoch, 0, recorded.steps());
  for (std::int64_t step = 0; step < recorded.steps(); ++step) {
    const Losses& losses = found[static_cast<std::size_t>(step)];
    const double expected = recorded.data.at("losses")[step].item<double>();
    EXPECT_NEAR(losses[0].second, expected, tolerance * std::abs(expected)) << "loss of step " << step;
    if (!recorded.data.contains("terms")) continue;
    const Tensor terms = recorded.data.at("terms")[step];
    for (std::int64_t i = 0; i < terms.numel(); ++i) {
      const auto& [name, value] = losses.at(first_term + static_cast<std::size_t>(i));
      const double term = terms[i].item<double>();
      EXPECT_NEAR(value, term, tolerance * std::max(1.0, std::abs(term))) << name << " of step " << step;
    }
  }
}

/// The same, and expects the final tensors.
inline void expect_recorded_steps(Classifier& learner, Stage& stage, const RecordedSteps& recorded, int an_epoch,
                                  double tolerance) {
  expect_recorded_losses(stage, recorded, an_epoch, tolerance);
  const TensorMap state = learner.state();
  for (const auto& [name, tensor] : recorded.final) {
    const double scale = std::max(1.0, tensor.to(at::kFloat).abs().max().item<double>());
    EXPECT_LT(largest_difference(state.at(name), tensor), tolerance * scale) << name;
    EXPECT_GT(largest_difference(recorded.start.at(name), tensor), 1e-6) << name << " was not learned";
  }
}

/// Expects that a stage which is saved in the middle of the recorded steps, in the middle of an epoch, and continued by
/// another learner ends with the same bits.
inline void expect_resumed_bits(const std::function<std::unique_ptr<Classifier>()>& make, const RecordedSteps& recorded,
                                int an_epoch, std::size_t stage = 0) {
  const auto whole = make();
  take_steps(*whole->stages(recorded.training()).at(stage), recorded, an_epoch, 0, recorded.steps());

  const std::int64_t middle = recorded.steps() / 2 + 1;
  const auto first = make();
  const auto first_stage = std::move(first->stages(recorded.training()).at(stage));
  take_steps(*first_stage, recorded, an_epoch, 0, middle);
  const auto second = make();
  const auto second_stage = std::move(second->stages(recorded.training()).at(stage));
  second->load_state(copied(first->state()));
  second_stage->load_state(copied(first_stage->state()));
  take_steps(*second_stage, recorded, an_epoch, middle, recorded.steps());
  for (const auto& [name, tensor] : whole->state()) EXPECT_TRUE(tensor.equal(second->state().at(name))) << name;
}

/// Expects that an adapter on disk gives the learner's logits.
inline void expect_same_from_disk(const Method& method, const std::vector<std::string>& assignments,
                                  const ClassNames& classes, Classifier& learner, const Batch& batch) {
  Config config(method.schema);
  for (const std::string& one : assignments) config.set(one, "test");
  const TemporaryFolder folder;
  save_adapter(folder.path(),
               {method.name, config.to_json(), "small", small_model()->weight_hash(), classes, "", "", 1, nullptr, ""},
               learner);
  EXPECT_TRUE(load_adapter(folder.path(), small_model())->logits(batch).equal(learner.logits(batch)));
}

/// Expects that every row of the logits is the same, up to rounding, where its picture stands alone.
inline void expect_independent_rows(Classifier& learner, const Batch& batch) {
  const Tensor together = learner.logits(batch);
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    Batch one{batch.image_features.narrow(0, i, 1), {}, {}};
    if (batch.pixels.defined()) one.pixels = batch.pixels.narrow(0, i, 1);
    if (batch.local_features.defined()) one.local_features = batch.local_features.narrow(0, i, 1);
    if (!batch.content.empty()) one.content = {batch.content[static_cast<std::size_t>(i)]};
    const Tensor alone = learner.logits(one);
    EXPECT_LT(largest_difference(alone[0], together[i]), 1e-4) << "picture " << i;
  }
}

}  // namespace attune

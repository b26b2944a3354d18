#include "attune/training/search_run.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/training/run_files.h"

namespace attune {
namespace {

/// The batch of one step.
class GivenSamples final : public BatchSource {
 public:
  explicit GivenSamples(std::vector<std::int64_t> samples) : samples_(std::move(samples)) {}
  Batch next() override {
    Batch batch;
    batch.samples = samples_;
    return batch;
  }

 private:
  std::vector<std::int64_t> samples_;
};

class Search {
 public:
  Search(Learner& learner, const Stages& stages, std::int64_t samples, const TrainRun& run)
      : stages_(stages),
        samples_(checked(samples)),
        run_(run),
        files_(learner, stages, run),
        position_(files_.position()) {
    for (const auto& stage : stages) planned_ += stage->epochs() * steps_of(*stage);
    expect_enough_batches(run, planned_);
  }

  TrainOutcome run() {
    for (; position_.stage < static_cast<std::int64_t>(stages_.size()); ++position_.stage) {
      Stage& stage = *stages_[static_cast<std::size_t>(position_.stage)];
      for (; position_.epoch < stage.epochs(); ++position_.epoch) {
        if (!epoch(stage)) return TrainOutcome::kStopped;
      }
      position_.epoch = 0;
    }
    files_.save(nullptr);
    if (run_.progress != nullptr) run_.progress->finish();
    return TrainOutcome::kFinished;
  }

 private:
  /// Before anything is written.
  static std::int64_t checked(std::int64_t samples) {
    if (samples == 0) throw Error("search: expected at least one training sample, found none");
    return samples;
  }

  /// An incomplete last batch is dropped where there is a full one, as train() does.
  std::int64_t steps_of(const Stage& stage) const { return std::max<std::int64_t>(1, samples_ / stage.batch_size()); }

  std::vector<std::int64_t> batch(const Stage& stage, const std::vector<std::int64_t>& order) const {
    if (!run_.order.empty()) return run_.order[static_cast<std::size_t>(position_.total_steps)];
    const auto first = order.begin() + position_.step * stage.batch_size();
    return {first, first + std::min<std::int64_t>(stage.batch_size(), order.end() - first)};
  }

  /// False where a stop was asked for; the checkpoint then holds the position.
  bool epoch(Stage& stage) {
    const auto order =
        random_order(samples_, run_.seed, "order of " + stage.name(), static_cast<std::uint64_t>(position_.epoch));
    stage.begin_epoch(static_cast<int>(position_.epoch));
    for (const std::int64_t steps = steps_of(stage); position_.step < steps;) {
      if (stop_requested()) {
        files_.save(&stage);
        return false;
      }
      GivenSamples samples(batch(stage, order));
      const Losses losses = stage.step(samples);
      ++position_.step;
      ++position_.total_steps;
      log_step(stage, losses);
      if (position_.step < steps) files_.save_if_due(stage);
    }
    stage.end_epoch(static_cast<int>(position_.epoch));
    position_.step = 0;
    ++position_.epoch;
    files_.save(&stage);
    --position_.epoch;
    return true;
  }

  void log_step(const Stage& stage, const Losses& losses) {
    files_.write_step(stage, losses);
    if (run_.progress != nullptr) {
      run_.progress->update(position_.total_steps, planned_, fmt::format("loss {:.4f}", losses[0].second));
    }
  }

  const Stages& stages_;
  std::int64_t samples_;
  const TrainRun& run_;
  RunFiles files_;
  Checkpoint& position_;
  std::int64_t planned_ = 0;
};

}  // namespace

TrainOutcome run_search(Learner& learner, const Stages& stages, std::int64_t samples, const TrainRun& run) {
  return Search(learner, stages, samples, run).run();
}

}  // namespace attune

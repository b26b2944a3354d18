#include "attune/training/search_run.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/formats/event_file.h"
#include "attune/training/checkpoint.h"
#include "attune/training/run_log.h"

namespace attune {
namespace {

using Clock = std::chrono::steady_clock;

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
      : learner_(learner),
        stages_(stages),
        samples_(samples),
        run_(run),
        checkpoint_(run.folder / "checkpoints" / "last.safetensors") {
    if (samples == 0) throw Error("search: expected at least one training sample, found none");
    position_.fingerprint = run.fingerprint;
    if (run.resume && std::filesystem::exists(checkpoint_)) restore();
    log_.emplace(run.folder / "metrics.jsonl", position_.log_bytes);
    events_.emplace(run.folder, position_.total_steps);
    for (const auto& stage : stages) planned_ += stage->epochs() * steps_of(*stage);
    if (!run.order.empty() && static_cast<std::int64_t>(run.order.size()) < planned_) {
      throw UsageError(fmt::format("--order: expected {} batches for this run, found {}", planned_, run.order.size()));
    }
  }

  TrainOutcome run() {
    for (; position_.stage < static_cast<std::int64_t>(stages_.size()); ++position_.stage) {
      Stage& stage = *stages_[static_cast<std::size_t>(position_.stage)];
      for (; position_.epoch < stage.epochs(); ++position_.epoch) {
        if (!epoch(stage)) return TrainOutcome::kStopped;
      }
      position_.epoch = 0;
    }
    save(nullptr);
    if (run_.progress != nullptr) run_.progress->finish();
    return TrainOutcome::kFinished;
  }

 private:
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
        save(&stage);
        return false;
      }
      GivenSamples samples(batch(stage, order));
      const Losses losses = stage.step(samples);
      ++position_.step;
      ++position_.total_steps;
      log_step(stage, losses);
      if (position_.step < steps && Clock::now() - saved_ > run_.checkpoint_interval) save(&stage);
    }
    stage.end_epoch(static_cast<int>(position_.epoch));
    position_.step = 0;
    ++position_.epoch;
    save(&stage);
    --position_.epoch;
    return true;
  }

  void log_step(const Stage& stage, const Losses& losses) {
    Json line = {
        {"kind", "step"}, {"stage", stage.name()}, {"epoch", position_.epoch}, {"step", position_.total_steps}};
    for (const auto& [name, value] : losses) {
      line[name] = value;
      events_->add_scalar(stage.name() + "/" + name, position_.total_steps, value);
    }
    line["lr"] = stage.learning_rate();
    log_->write(line);
    if (run_.progress != nullptr) {
      run_.progress->update(position_.total_steps, planned_, fmt::format("loss {:.4f}", losses[0].second));
    }
  }

  void save(const Stage* stage) {
    position_.log_bytes = log_->flush();
    events_->flush();
    position_.learner = learner_.state();
    position_.stage_state = stage == nullptr ? TensorMap{} : stage->state();
    save_checkpoint(checkpoint_, position_);
    saved_ = Clock::now();
  }

  void restore() {
    Checkpoint saved = load_checkpoint(checkpoint_);
    if (saved.fingerprint != run_.fingerprint) {
      throw UsageError(
          fmt::format("--resume: {} was written by a run with another configuration, model or split; use "
                      "the same options, or another --out",
                      checkpoint_.string()));
    }
    position_ = std::move(saved);
    learner_.load_state(position_.learner);
    if (position_.stage < static_cast<std::int64_t>(stages_.size()) && !position_.stage_state.empty()) {
      stages_[static_cast<std::size_t>(position_.stage)]->load_state(position_.stage_state);
    }
  }

  Learner& learner_;
  const Stages& stages_;
  std::int64_t samples_;
  const TrainRun& run_;
  std::filesystem::path checkpoint_;
  Checkpoint position_;
  std::optional<RunLog> log_;
  std::optional<EventWriter> events_;
  std::int64_t planned_ = 0;
  Clock::time_point saved_ = Clock::now();
};

}  // namespace

TrainOutcome run_search(Learner& learner, const Stages& stages, std::int64_t samples, const TrainRun& run) {
  return Search(learner, stages, samples, run).run();
}

}  // namespace attune

#include "attune/training/trainer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/formats/event_file.h"
#include "attune/training/checkpoint.h"
#include "attune/training/run_log.h"

namespace attune {
namespace {

using Clock = std::chrono::steady_clock;

/// The batches of one epoch: samples in the order keyed by (seed, stage, epoch), or the order that was given.
class EpochBatches final : public BatchSource {
 public:
  EpochBatches(Inputs& inputs, const ViewPlan& views, std::uint64_t seed, int epoch)
      : inputs_(inputs), views_(views), seed_(seed), epoch_(epoch) {}

  void set_batch(std::vector<std::int64_t> samples) { samples_ = std::move(samples); }

  Batch next() override {
    std::vector<Tensor> rows;
    for (const std::int64_t sample : samples_) {
      rows.push_back(inputs_.features(views_.view(seed_, epoch_, sample))[sample]);
    }
    const Tensor index = at::tensor(samples_, at::kLong);
    return {at::stack(rows), inputs_.labels().index_select(0, index), samples_};
  }

 private:
  Inputs& inputs_;
  const ViewPlan& views_;
  std::uint64_t seed_;
  int epoch_;
  std::vector<std::int64_t> samples_;
};

class Run {
 public:
  Run(Classifier& classifier, const Stages& stages, Inputs& training, Inputs* validation, const TrainSettings& settings,
      const TrainRun& run)
      : classifier_(classifier),
        training_(training),
        validation_(validation),
        settings_(settings),
        run_(run),
        stages_(stages),
        checkpoint_path_(run.folder / "checkpoints" / "last.safetensors") {
    if (training.size() == 0) throw Error("training: expected at least one training sample, found none");
    if (settings.selection == TrainSettings::Selection::kValidation && validation == nullptr) {
      throw UsageError("selection: validation was asked for, but the split has no validation samples");
    }
    position_.fingerprint = run.fingerprint;
    if (run.resume && std::filesystem::exists(checkpoint_path_)) restore();
    log_.emplace(run.folder / "metrics.jsonl", position_.log_bytes);
    events_.emplace(run.folder, position_.total_steps);
    count_steps();
  }

  TrainOutcome train() {
    for (; position_.stage < static_cast<std::int64_t>(stages_.size()); ++position_.stage) {
      Stage& stage = *stages_[static_cast<std::size_t>(position_.stage)];
      for (; position_.epoch < stage.epochs(); ++position_.epoch) {
        if (!train_epoch(stage)) return TrainOutcome::kStopped;
      }
      if (!position_.best.empty()) classifier_.load_state(position_.best);
      position_.epoch = 0;
      position_.best.clear();
      position_.best_epoch = -1;
      position_.best_accuracy = -1.0;
    }
    save(nullptr);
    if (run_.progress != nullptr) run_.progress->finish();
    return TrainOutcome::kFinished;
  }

 private:
  std::int64_t steps_an_epoch(const Stage& stage) const {
    // An incomplete last batch is dropped where there is at least one full batch (Dassl's loader).
    return std::max<std::int64_t>(1, training_.size() / stage.batch_size());
  }

  void count_steps() {
    for (const auto& stage : stages_) planned_steps_ += stage->epochs() * steps_an_epoch(*stage);
    const auto given = static_cast<std::int64_t>(run_.order.size());
    if (given > 0 && given < planned_steps_) {
      throw UsageError(fmt::format("--order: expected {} batches for this run, found {}", planned_steps_, given));
    }
  }

  std::vector<std::int64_t> samples_of_step(const Stage& stage, const std::vector<std::int64_t>& order) const {
    if (!run_.order.empty()) return run_.order[static_cast<std::size_t>(position_.total_steps)];
    const std::int64_t first = position_.step * stage.batch_size();
    const std::int64_t last = std::min(first + stage.batch_size(), training_.size());
    return {order.begin() + first, order.begin() + last};
  }

  /// False where a stop was asked for; the checkpoint then holds the position.
  bool train_epoch(Stage& stage) {
    const int epoch = static_cast<int>(position_.epoch);
    const auto begin = Clock::now();
    const std::vector<std::int64_t> order =
        random_order(training_.size(), run_.seed, "order of " + stage.name(), static_cast<std::uint64_t>(epoch));
    EpochBatches batches(training_, settings_.views, run_.seed, epoch);
    stage.begin_epoch(epoch);
    const std::int64_t steps = steps_an_epoch(stage);
    for (; position_.step < steps;) {
      if (stop_requested()) {
        save(&stage);
        return false;
      }
      batches.set_batch(samples_of_step(stage, order));
      const Losses losses = stage.step(batches);
      ++position_.step;
      ++position_.total_steps;
      log_step(stage, losses);
      if (position_.step < steps && Clock::now() - last_save_ > run_.checkpoint_interval) save(&stage);
    }
    if (settings_.views.kind == ViewPlan::Kind::kAugmented) training_.forget(settings_.views.view(run_.seed, epoch, 0));
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    finish_epoch(stage, steps, seconds);
    return true;
  }

  void log_step(const Stage& stage, const Losses& losses) {
    Losses& sums = position_.sums;
    Json line = {
        {"kind", "step"}, {"stage", stage.name()}, {"epoch", position_.epoch}, {"step", position_.total_steps}};
    for (std::size_t i = 0; i < losses.size(); ++i) {
      line[losses[i].first] = losses[i].second;
      events_->add_scalar(stage.name() + "/" + losses[i].first, position_.total_steps, losses[i].second);
      if (i == sums.size()) sums.emplace_back(losses[i].first, 0.0);
      sums[i].second += losses[i].second;
    }
    line["lr"] = stage.learning_rate();
    log_->write(line);
    if (run_.progress != nullptr) {
      run_.progress->update(
          position_.total_steps, planned_steps_,
          fmt::format("{} epoch {}, loss {:.3f}", stage.name(), position_.epoch + 1, losses[0].second));
    }
  }

  void finish_epoch(Stage& stage, std::int64_t steps, double seconds) {
    Json line = {{"kind", "epoch"}, {"stage", stage.name()}, {"epoch", position_.epoch}};
    for (const auto& [name, sum] : position_.sums) line[name] = sum / static_cast<double>(steps);
    position_.sums.clear();
    position_.step = 0;
    line["lr"] = stage.learning_rate();
    if (validation_ != nullptr && settings_.selection == TrainSettings::Selection::kValidation) {
      const double measured = accuracy(classifier_, *validation_);
      line["validation_acc1"] = measured;
      events_->add_scalar(stage.name() + "/validation_acc1", position_.total_steps, measured);
      if (measured > position_.best_accuracy) {
        position_.best_accuracy = measured;
        position_.best_epoch = position_.epoch;
        position_.best.clear();
        for (const auto& [name, tensor] : classifier_.state()) position_.best[name] = tensor.clone();
      }
    }
    line["seconds"] = seconds;
    log_->write(line);
    ++position_.epoch;
    save(&stage);
    --position_.epoch;
  }

  void save(const Stage* stage) {
    position_.log_bytes = log_->flush();
    events_->flush();
    position_.learner = classifier_.state();
    position_.stage_state = stage == nullptr ? TensorMap{} : stage->state();
    save_checkpoint(checkpoint_path_, position_);
    last_save_ = Clock::now();
  }

  void restore() {
    Checkpoint saved = load_checkpoint(checkpoint_path_);
    if (saved.fingerprint != run_.fingerprint) {
      throw UsageError(
          fmt::format("--resume: {} was written by a run with another configuration, model or split; use "
                      "the same options, or another --out",
                      checkpoint_path_.string()));
    }
    position_ = std::move(saved);
    classifier_.load_state(position_.learner);
    if (position_.stage < static_cast<std::int64_t>(stages_.size()) && !position_.stage_state.empty()) {
      stages_[static_cast<std::size_t>(position_.stage)]->load_state(position_.stage_state);
    }
  }

  Classifier& classifier_;
  Inputs& training_;
  Inputs* validation_;
  const TrainSettings& settings_;
  const TrainRun& run_;
  const Stages& stages_;
  std::filesystem::path checkpoint_path_;
  Checkpoint position_;
  std::optional<RunLog> log_;
  std::optional<EventWriter> events_;
  std::int64_t planned_steps_ = 0;
  Clock::time_point last_save_ = Clock::now();
};

}  // namespace

Schema TrainSettings::schema() {
  Schema schema = ViewPlan::schema();
  schema.push_back({"selection", "last", "the state that is kept: last (epoch), or validation (best epoch on it)"});
  return schema;
}

TrainSettings::TrainSettings(const Config& config) : views(config) {
  const std::string text = config.text("selection");
  if (text == "validation") {
    selection = Selection::kValidation;
  } else if (text != "last") {
    throw UsageError(fmt::format("selection: expected last or validation, found \"{}\"", text));
  }
}

TrainOutcome train(Classifier& classifier, const Stages& stages, Inputs& training, Inputs* validation,
                   const TrainSettings& settings, const TrainRun& run) {
  return Run(classifier, stages, training, validation, settings, run).train();
}

Batch whole_batch(Inputs& inputs) {
  const Tensor features = inputs.features(0);  // may take broken pictures out
  Batch batch{features, inputs.labels(), {}};
  batch.samples.resize(static_cast<std::size_t>(inputs.size()));
  std::iota(batch.samples.begin(), batch.samples.end(), 0);
  return batch;
}

double accuracy(Classifier& classifier, Inputs& inputs) {
  return classifier.logits(whole_batch(inputs)).argmax(1).eq(inputs.labels()).to(at::kDouble).mean().item<double>();
}

std::vector<std::vector<std::int64_t>> read_order(const std::filesystem::path& path, std::int64_t samples) {
  const std::string text = read_file(path);
  std::vector<std::vector<std::int64_t>> order;
  std::size_t begin = 0;
  for (std::int64_t line = 1; begin < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string where = fmt::format("{} line {}", path.string(), line);
    const Json wrapped = {{"batch", parse_json(std::string_view(text).substr(begin, end - begin), where)}};
    order.push_back(json_at<std::vector<std::int64_t>>(wrapped, "batch", where));
    for (const std::int64_t sample : order.back()) {
      if (sample < 0 || sample >= samples) {
        throw Error(fmt::format("{}: expected sample indices from 0 to {}, found {}", where, samples - 1, sample));
      }
    }
    if (order.back().empty()) throw Error(fmt::format("{}: expected at least one sample index", where));
    begin = end + 1;
  }
  return order;
}

}  // namespace attune

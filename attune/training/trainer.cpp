#include "attune/training/trainer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/training/run_files.h"

namespace attune {
namespace {

using Clock = std::chrono::steady_clock;

/// The positions of the samples of `domain` (negative: of all).
std::vector<std::int64_t> samples_of_domain(const Inputs& inputs, std::int64_t domain) {
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < inputs.size(); ++i) {
    if (domain < 0 || inputs.samples()[static_cast<std::size_t>(i)].domain == domain) positions.push_back(i);
  }
  return positions;
}

/// The batches of one epoch: samples in the order keyed by (seed, stage, epoch), or the order that was given.
class EpochBatches final : public BatchSource {
 public:
  EpochBatches(Inputs& inputs, const Needs& needs, const Stage& stage, const ViewPlan& views, std::uint64_t seed,
               int epoch)
      : inputs_(inputs),
        needs_(needs),
        stage_(stage),
        views_(views),
        seed_(seed),
        epoch_(epoch),
        samples_(samples_of_domain(inputs, stage.domain())) {}

  /// Begins a step; `given`, where it is not null, is its first batch.
  void begin_step(std::int64_t step, const std::vector<std::int64_t>* given) {
    step_ = step;
    given_ = given;
    drawn_ = 0;
  }

  Batch next() override {
    const std::size_t draw = drawn_++;
    const std::vector<std::int64_t> samples = draw == 0 && given_ != nullptr ? *given_ : batch_of_pass(draw);
    std::vector<std::int64_t> views;
    for (const std::int64_t sample : samples) views.push_back(views_.view(seed_, epoch_, sample));
    return inputs_.batch(samples, views, needs_, views_.kind != ViewPlan::Kind::kAugmented);
  }

 private:
  std::vector<std::int64_t> batch_of_pass(std::size_t pass) {
    const auto count = static_cast<std::int64_t>(samples_.size());
    if (pass == passes_.size()) {
      const std::string purpose = "order of " + stage_.name() + (pass == 0 ? "" : fmt::format(", pass {}", pass + 1));
      passes_.push_back(random_order(count, seed_, purpose, static_cast<std::uint64_t>(epoch_)));
    }
    std::vector<std::int64_t> batch;
    const std::int64_t first = step_ * stage_.batch_size();
    for (std::int64_t i = first; i < std::min(first + stage_.batch_size(), count); ++i) {
      const std::int64_t position = passes_[pass][static_cast<std::size_t>(i)];
      batch.push_back(samples_[static_cast<std::size_t>(position)]);
    }
    return batch;
  }

  Inputs& inputs_;
  const Needs needs_;
  const Stage& stage_;
  const ViewPlan& views_;
  std::uint64_t seed_;
  int epoch_;
  std::vector<std::int64_t> samples_;
  std::vector<std::vector<std::int64_t>> passes_;  // orders of samples_, one for every batch that a step takes
  std::int64_t step_ = 0;
  const std::vector<std::int64_t>* given_ = nullptr;
  std::size_t drawn_ = 0;
};

/// The share of `samples` whose answer is right by the logits that `logits_of` gives, on their centre views.
double share_right(Inputs& inputs, const std::vector<std::int64_t>& samples, const Needs& needs,
                   const std::function<Tensor(const Batch&)>& logits_of) {
  const auto count = static_cast<std::int64_t>(samples.size()), at_once = Inputs::samples_at_once(needs);
  std::int64_t right = 0;
  for (std::int64_t first = 0; first < count; first += at_once) {
    const std::vector<std::int64_t> part(samples.begin() + first, samples.begin() + std::min(first + at_once, count));
    const Batch batch = inputs.batch(part, std::vector<std::int64_t>(part.size(), 0), needs);
    right += logits_of(batch).argmax(1).to(at::kCPU).eq(batch.labels).sum().item<std::int64_t>();
  }
  return static_cast<double>(right) / static_cast<double>(count);
}

/// Accuracy on the validation samples that `stage` is judged by.
double stage_accuracy(Stage& stage, Classifier& classifier, Inputs& validation) {
  const std::vector<std::int64_t> samples = samples_of_domain(validation, stage.domain());
  if (samples.empty()) {
    throw UsageError(
        fmt::format("selection: validation was asked for, but the split has no validation samples for {}; take more "
                    "shots, count them by domain (shots_per_domain), or set selection=last",
                    stage.name()));
  }
  return share_right(validation, samples, classifier.needs(), [&](const Batch& batch) {
    const Tensor logits = stage.validation_logits(batch);
    return logits.defined() ? logits : classifier.logits(batch);
  });
}

class Run {
 public:
  Run(Classifier& classifier, const Stages& stages, Inputs& training, Inputs* validation, const TrainSettings& settings,
      const TrainRun& run)
      : classifier_(classifier),
        training_(checked(training, validation, settings)),
        validation_(validation),
        settings_(settings),
        run_(run),
        stages_(stages),
        files_(classifier, stages, run),
        position_(files_.position()) {
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
    files_.save(nullptr);
    if (run_.progress != nullptr) run_.progress->finish();
    return TrainOutcome::kFinished;
  }

 private:
  /// Before anything is written.
  static Inputs& checked(Inputs& training, const Inputs* validation, const TrainSettings& settings) {
    if (training.size() == 0) throw Error("training: expected at least one training sample, found none");
    if (settings.selection == TrainSettings::Selection::kValidation && validation == nullptr) {
      throw UsageError("selection: validation was asked for, but the split has no validation samples");
    }
    return training;
  }

  std::int64_t steps_an_epoch(const Stage& stage) const {
    // An incomplete last batch is dropped where there is at least one full batch (Dassl's loader).
    const auto samples = static_cast<std::int64_t>(samples_of_domain(training_, stage.domain()).size());
    if (samples == 0) throw Error(fmt::format("training: expected training samples for {}, found none", stage.name()));
    return std::max<std::int64_t>(1, samples / stage.batch_size());
  }

  void count_steps() {
    for (const auto& stage : stages_) {
      planned_steps_ += stage->epochs() * steps_an_epoch(*stage);
      if (!run_.order.empty() && stage->domain() >= 0) {
        throw UsageError("--order: cannot fix the batches of a method that trains domain by domain");
      }
    }
    expect_enough_batches(run_, planned_steps_);
  }

  /// False where a stop was asked for; the checkpoint then holds the position.
  bool train_epoch(Stage& stage) {
    const int epoch = static_cast<int>(position_.epoch);
    const auto begin = Clock::now();
    EpochBatches batches(training_, classifier_.needs(), stage, settings_.views, run_.seed, epoch);
    stage.begin_epoch(epoch);
    const std::int64_t steps = steps_an_epoch(stage);
    for (; position_.step < steps;) {
      if (stop_requested()) {
        files_.save(&stage);
        return false;
      }
      const auto done = static_cast<std::size_t>(position_.total_steps);
      batches.begin_step(position_.step, run_.order.empty() ? nullptr : &run_.order[done]);
      const Losses losses = stage.step(batches);
      ++position_.step;
      ++position_.total_steps;
      log_step(stage, losses);
      if (position_.step < steps) files_.save_if_due(stage);
    }
    if (settings_.views.kind == ViewPlan::Kind::kAugmented) training_.forget(settings_.views.view(run_.seed, epoch, 0));
    stage.end_epoch(epoch);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    finish_epoch(stage, steps, seconds);
    return true;
  }

  void log_step(const Stage& stage, const Losses& losses) {
    files_.write_step(stage, losses);
    Losses& sums = position_.sums;
    for (std::size_t i = 0; i < losses.size(); ++i) {
      if (i == sums.size()) sums.emplace_back(losses[i].first, 0.0);
      sums[i].second += losses[i].second;
    }
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
      const double measured = stage_accuracy(stage, classifier_, *validation_);
      line["validation_acc1"] = measured;
      files_.add_scalar(stage, "validation_acc1", measured);
      if (measured > position_.best_accuracy) {
        position_.best_accuracy = measured;
        position_.best_epoch = position_.epoch;
        position_.best.clear();
        for (const auto& [name, tensor] : classifier_.state()) position_.best[name] = tensor.clone();
      }
    }
    line["seconds"] = seconds;
    files_.write(line);
    ++position_.epoch;
    files_.save(&stage);
    --position_.epoch;
  }

  Classifier& classifier_;
  Inputs& training_;
  Inputs* validation_;
  const TrainSettings& settings_;
  const TrainRun& run_;
  const Stages& stages_;
  RunFiles files_;
  Checkpoint& position_;
  std::int64_t planned_steps_ = 0;
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

TrainingData training_data(Inputs& training, Inputs* validation, std::uint64_t seed) {
  TrainingData data{training.size(), seed};
  if (validation != nullptr && validation->size() > 0) {
    data.validation = [validation] { return whole_batch(*validation); };
  }
  for (const std::string& name : training.domain_names()) {
    const auto index = static_cast<std::int64_t>(data.domains.size());
    data.domains.push_back({name, static_cast<std::int64_t>(samples_of_domain(training, index).size())});
  }
  return data;
}

Batch whole_batch(Inputs& inputs) {
  const Tensor features = inputs.features(0);  // may take broken pictures out
  Batch batch{features, inputs.labels(), {}, inputs.domains()};
  batch.samples.resize(static_cast<std::size_t>(inputs.size()));
  std::iota(batch.samples.begin(), batch.samples.end(), 0);
  return batch;
}

double accuracy(Classifier& classifier, Inputs& inputs) {
  return share_right(inputs, samples_of_domain(inputs, -1), classifier.needs(),
                     [&](const Batch& batch) { return classifier.logits(batch); });
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

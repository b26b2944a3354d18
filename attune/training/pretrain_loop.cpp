#include "attune/training/pretrain_loop.h"

#include <fmt/format.h>

namespace attune {
namespace {

constexpr std::int64_t kReportEvery = 20;  // steps

}  // namespace

PretrainLoop::PretrainLoop(const Config& recipe, const std::filesystem::path& folder, bool resume, Progress* progress)
    : recipe_(recipe),
      progress_(progress),
      run_(folder),
      position_(run_.begin(recipe, resume, saved_)),
      log_(folder / "metrics.jsonl", position_.log_bytes),
      begun_(Clock::now() -
             std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(position_.seconds))),
      saved_at_(position_.seconds) {
  run_.keep_recipe(recipe);
}

bool PretrainLoop::train(const std::vector<PretrainStage>& stages, const PretrainKind& kind) {
  for (const PretrainStage& stage : stages) total_ += stage.steps() * stage.batch;
  while (train_stage(stages[static_cast<std::size_t>(position_.stage)], kind)) {
    if (position_.stage + 1 == std::ssize(stages)) {
      if (kind.finish) kind.finish(position_, line_);
      if (progress_ != nullptr) progress_->finish();
      return true;
    }
    ++position_.stage;
    position_.step = 0;
  }
  return false;
}

bool PretrainLoop::train_stage(const PretrainStage& stage, const PretrainKind& kind) {
  optimiser_ = make_pretrain_optimiser(kind.parameters(stage), recipe_, saved_);
  saved_.clear();
  log_info(fmt::format("{}: step {} of {}", stage.name, position_.step, stage.steps()));
  count_from_here();
  while (position_.step < stage.steps()) {
    if (stop_requested()) {
      checkpoint(kind);
      return false;
    }
    step(stage, kind);
    if (position_.step % kReportEvery == 0 || position_.step == stage.steps()) report(stage, kind);
    if (progress_ != nullptr) progress_->update(position_.samples, total_, note_);
    if (const auto measured = kind.evaluate ? kind.evaluate(stage, position_) : std::nullopt) {
      log_.write(*measured);
      log_.flush();
      count_from_here();
    }
    if (seconds() - saved_at_ > 60.0 * recipe_.number("checkpoint.minutes")) checkpoint(kind);
  }
  checkpoint(kind);  // of the stage's end, optimiser included: a stage made longer goes on from here
  return true;
}

void PretrainLoop::step(const PretrainStage& stage, const PretrainKind& kind) {
  optimiser_->zero_gradients();
  position_.loss_sum += pretrain_step(*optimiser_, kind.loss(stage, position_), recipe_, stage.rate(position_.step),
                                      stage.name, position_.step);
  ++position_.summed;
  ++position_.step;
  ++position_.draws;
  position_.samples += stage.batch;
  if (kind.updated) kind.updated(position_);
}

/// The loss is the mean since the last line.
void PretrainLoop::report(const PretrainStage& stage, const PretrainKind& kind) {
  const double loss = position_.loss_sum / static_cast<double>(position_.summed);
  const double rate = static_cast<double>(position_.samples - counted_samples_) / (seconds() - counted_at_);
  position_.loss_sum = 0.0;
  position_.summed = 0;
  line_ = {{"stage", stage.name},       {"step", position_.step}, {"samples", position_.samples},
           {"seconds", seconds()},      {"loss", loss},           {"learning_rate", stage.rate(position_.step - 1)},
           {"samples_per_second", rate}};
  if (kind.terms) line_.update(kind.terms(stage, position_));
  log_.write(line_);
  log_.flush();
  note_ = fmt::format("{} loss {:.4f} {:.3g}/s", stage.name, loss, rate);
  count_from_here();
}

void PretrainLoop::checkpoint(const PretrainKind& kind) {
  position_.seconds = seconds();
  position_.log_bytes = log_.flush();
  run_.save_checkpoint(position_, kind.state(), optimiser_.get());
  if (kind.keep) kind.keep(position_, line_);
  saved_at_ = seconds();
}

double PretrainLoop::seconds() const {
  return std::chrono::duration<double>(Clock::now() - begun_).count();
}

void PretrainLoop::count_from_here() {
  counted_samples_ = position_.samples;
  counted_at_ = seconds();
}

}  // namespace attune

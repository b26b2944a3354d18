#include "attune/training/run_files.h"

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

std::filesystem::path checkpoint_of(const std::filesystem::path& folder) {
  return folder / "checkpoints" / "last.safetensors";
}

}  // namespace

Checkpoint RunFiles::begun(Learner& learner, const Stages& stages, const TrainRun& run) {
  const std::filesystem::path path = checkpoint_of(run.folder);
  Checkpoint position;
  position.fingerprint = run.fingerprint;
  if (!run.resume || !std::filesystem::exists(path)) return position;
  position = load_checkpoint(path);
  if (position.fingerprint != run.fingerprint) {
    throw UsageError(
        fmt::format("--resume: {} was written by a run with another configuration, model or split; use "
                    "the same options, or another --out",
                    path.string()));
  }
  learner.load_state(position.learner);
  if (position.stage < static_cast<std::int64_t>(stages.size()) && !position.stage_state.empty()) {
    stages[static_cast<std::size_t>(position.stage)]->load_state(position.stage_state);
  }
  return position;
}

RunFiles::RunFiles(Learner& learner, const Stages& stages, const TrainRun& run)
    : learner_(learner),
      run_(run),
      position_(begun(learner, stages, run)),
      log_(run.folder / "metrics.jsonl", position_.log_bytes),
      events_(run.folder, position_.total_steps) {}

void RunFiles::write_step(const Stage& stage, const Losses& losses) {
  Json line = {{"kind", "step"}, {"stage", stage.name()}, {"epoch", position_.epoch}, {"step", position_.total_steps}};
  for (const auto& [name, value] : losses) {
    line[name] = value;
    add_scalar(stage, name, value);
  }
  line["lr"] = stage.learning_rate();
  write(line);
}

void RunFiles::save(const Stage* stage) {
  position_.log_bytes = log_.flush();
  events_.flush();
  position_.learner = learner_.state();
  position_.stage_state = stage == nullptr ? TensorMap{} : stage->state();
  save_checkpoint(checkpoint_of(run_.folder), position_);
  saved_ = std::chrono::steady_clock::now();
}

void RunFiles::save_if_due(const Stage& stage) {
  if (std::chrono::steady_clock::now() - saved_ > run_.checkpoint_interval) save(&stage);
}

void expect_enough_batches(const TrainRun& run, std::int64_t planned) {
  const auto given = static_cast<std::int64_t>(run.order.size());
  if (given > 0 && given < planned) {
    throw UsageError(fmt::format("--order: expected {} batches for this run, found {}", planned, given));
  }
}

void refuse_a_used_folder(const std::filesystem::path& folder, bool resume) {
  if (!resume && std::filesystem::exists(checkpoint_of(folder))) {
    throw UsageError(fmt::format("--out: {} already holds a run; continue it with --resume, or name another folder",
                                 folder.string()));
  }
}

}  // namespace attune

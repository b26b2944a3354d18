#include "attune/training/checkpoint.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json_count.h"
#include "attune/methods/learner.h"

namespace attune {
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  TensorMap all;
  add_state(all, "learner.", checkpoint.learner);
  add_state(all, "stage.", checkpoint.stage_state);
  add_state(all, "best.", checkpoint.best);
  Json sums = Json::object();
  for (const auto& [name, sum] : checkpoint.sums) sums[name] = sum;
  const Json position = {{"stage", checkpoint.stage},
                         {"epoch", checkpoint.epoch},
                         {"step", checkpoint.step},
                         {"total_steps", checkpoint.total_steps},
                         {"log_bytes", checkpoint.log_bytes},
                         {"best_epoch", checkpoint.best_epoch},
                         {"best_accuracy", checkpoint.best_accuracy},
                         {"sums", sums},
                         {"fingerprint", checkpoint.fingerprint}};
  save_tensors(path, all, {{"attune.checkpoint", position.dump()}});
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const auto position = file.metadata().find("attune.checkpoint");
  if (position == file.metadata().end()) {
    throw Error(
        fmt::format("{}: expected a checkpoint (metadata \"attune.checkpoint\"), found another file", path.string()));
  }
  const Json json = parse_json(position->second, path.string());
  const std::string where = path.string();
  Checkpoint checkpoint;
  checkpoint.stage = count_at(json, "stage", where);
  checkpoint.epoch = count_at(json, "epoch", where);
  checkpoint.step = count_at(json, "step", where);
  checkpoint.total_steps = count_at(json, "total_steps", where);
  checkpoint.log_bytes = static_cast<std::uint64_t>(count_at(json, "log_bytes", where));
  checkpoint.best_epoch = count_at(json, "best_epoch", where, -1);
  checkpoint.best_accuracy = json_at<double>(json, "best_accuracy", where);
  const Json sums = json_at<Json>(json, "sums", where);
  for (const auto& [name, value] : sums.items()) {
    checkpoint.sums.emplace_back(name, json_at<double>(sums, name, where));
  }
  checkpoint.fingerprint = json_at<std::string>(json, "fingerprint", where);
  const TensorMap all = load_tensors(path);
  checkpoint.learner = part_of_state(all, "learner.");
  checkpoint.stage_state = part_of_state(all, "stage.");
  checkpoint.best = part_of_state(all, "best.");
  return checkpoint;
}

}  // namespace attune

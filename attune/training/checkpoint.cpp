#include "attune/training/checkpoint.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json_count.h"

namespace attune {
namespace {

void add(TensorMap& all, const std::string& prefix, const TensorMap& part) {
  for (const auto& [name, tensor] : part) all[prefix + name] = tensor;
}

TensorMap take(const TensorMap& all, const std::string& prefix) {
  TensorMap part;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) part[name.substr(prefix.size())] = tensor;
  }
  return part;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  TensorMap all;
  add(all, "learner.", checkpoint.learner);
  add(all, "stage.", checkpoint.stage_state);
  add(all, "best.", checkpoint.best);
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
  checkpoint.learner = take(all, "learner.");
  checkpoint.stage_state = take(all, "stage.");
  checkpoint.best = take(all, "best.");
  return checkpoint;
}

}  // namespace attune

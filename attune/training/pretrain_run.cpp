#include "attune/training/pretrain_run.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json_count.h"

namespace attune {
namespace {

constexpr const char* kCheckpoint = "checkpoint.safetensors";

}  // namespace

bool PretrainRun::has_checkpoint() const {
  return std::filesystem::exists(folder_ / kCheckpoint);
}

void PretrainRun::save_checkpoint(const PretrainPosition& position, const TensorMap& tensors) const {
  const Json place = {{"stage", position.stage},       {"step", position.step},       {"draws", position.draws},
                      {"samples", position.samples},   {"seconds", position.seconds}, {"log_bytes", position.log_bytes},
                      {"loss_sum", position.loss_sum}, {"summed", position.summed}};
  save_tensors(folder_ / kCheckpoint, tensors, {{"position", place.dump()}});
}

PretrainPosition PretrainRun::load_checkpoint(TensorMap& tensors) const {
  const std::filesystem::path path = folder_ / kCheckpoint;
  tensors = load_tensors(path);
  const SafetensorsFile file(path);
  const auto found = file.metadata().find("position");
  if (found == file.metadata().end()) {
    throw Error(fmt::format("{}: expected the metadata 'position' of a checkpoint, found none", path.string()));
  }
  const std::string where = path.string();
  const Json place = parse_json(found->second, where);
  return {count_at(place, "stage", where),
          count_at(place, "step", where),
          count_at(place, "draws", where),
          count_at(place, "samples", where),
          json_at<double>(place, "seconds", where),
          static_cast<std::uint64_t>(count_at(place, "log_bytes", where)),
          json_or<double>(place, "loss_sum", 0.0, where),
          place.contains("summed") ? count_at(place, "summed", where) : 0};
}

void PretrainRun::replace_model(const std::function<void(const std::filesystem::path&)>& write) const {
  const std::filesystem::path model = folder_ / "model", fresh = folder_ / "model.new", former = folder_ / "model.old";
  std::filesystem::remove_all(fresh);
  std::filesystem::create_directories(fresh);
  write(fresh);
  std::filesystem::remove_all(former);
  if (std::filesystem::exists(model)) std::filesystem::rename(model, former);
  std::filesystem::rename(fresh, model);
  std::filesystem::remove_all(former);
}

}  // namespace attune

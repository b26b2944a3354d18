#include "attune/training/pretrain_run.h"

#include <fstream>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/training/pretrain_data.h"

namespace attune {
namespace {

constexpr const char* kCheckpoint = "checkpoint.safetensors";
constexpr const char* kMetrics = "metrics.jsonl";

}  // namespace

bool PretrainRun::has_checkpoint() const {
  return std::filesystem::exists(folder_ / kCheckpoint);
}

void PretrainRun::save_checkpoint(const PretrainPosition& position, const TensorMap& tensors) const {
  const Json place = {{"stage", position.stage},
                      {"step", position.step},
                      {"draws", position.draws},
                      {"samples", position.samples},
                      {"seconds", position.seconds}};
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
  return {json_at<std::int64_t>(place, "stage", where), json_at<std::int64_t>(place, "step", where),
          json_at<std::int64_t>(place, "draws", where), json_at<std::int64_t>(place, "samples", where),
          json_at<double>(place, "seconds", where)};
}

void PretrainRun::add_metrics(const Json& line) const {
  std::ofstream file(folder_ / kMetrics, std::ios::app);
  file << line.dump() << '\n';
  file.flush();
  if (!file) throw Error(fmt::format("{}: cannot be written", (folder_ / kMetrics).string()));
}

void PretrainRun::cut_metrics(std::int64_t samples) const {
  const std::filesystem::path path = folder_ / kMetrics;
  if (!std::filesystem::exists(path)) return;
  std::string kept;
  for (const std::string& line : read_lines(path)) {
    // A line that was cut off by a power failure is the last one and later than any checkpoint.
    const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_discarded() || json_at<std::int64_t>(entry, "samples", path.string()) > samples) break;
    kept += line + "\n";
  }
  write_file(path, kept);
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

#include "attune/evaluation/training_log.h"

#include <limits>
#include <set>

#include <fmt/format.h>

#include "attune/base/files.h"
#include "attune/base/json.h"

namespace attune {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

void read_line(std::string_view line, const std::string& where, TrainingLog& log) {
  const Json value = parse_json(line, where);
  const auto kind = json_at<std::string>(value, "kind", where);
  const auto number = [&](std::string_view key) { return json_or<double>(value, key, kMissing, where); };
  if (kind == "epoch") {
    log.epochs.push_back({json_or<std::string>(value, "stage", "", where), json_at<std::int64_t>(value, "epoch", where),
                          number("loss"), number("acc"), number("lr"), number("seconds"), number("validation_acc1")});
  } else if (kind == "step") {
    log.steps.push_back({json_or<std::string>(value, "stage", "", where), number("loss")});
  }
}

}  // namespace

TrainingLog parse_training_log(std::string_view text, const std::string& where) {
  TrainingLog log;
  std::size_t begin = 0;
  for (std::int64_t line = 1;; ++line) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) return log;
    const std::string_view content = text.substr(begin, end - begin);
    if (!content.empty()) read_line(content, fmt::format("{}:{}", where, line), log);
    begin = end + 1;
  }
}

TrainingLog read_training_log(const std::filesystem::path& path) {
  return parse_training_log(read_file(path, std::uint64_t{256} << 20), path.string());
}

std::vector<std::string> stages_of(const TrainingLog& log) {
  std::vector<std::string> stages;
  std::set<std::string_view> known;
  const auto add = [&](const std::string& stage) {
    if (known.insert(stage).second) stages.push_back(stage);
  };
  for (const EpochRecord& record : log.epochs) add(record.stage);
  for (const StepRecord& record : log.steps) add(record.stage);
  return stages;
}

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// A line of metrics.jsonl with "kind": "epoch". Numbers that were not recorded are NaN.
struct EpochRecord {
  std::string stage;
  std::int64_t epoch = 0;
  double loss = 0;
  double accuracy = 0;  // of the training batches, share
  double learning_rate = 0;
  double seconds = 0;
  double validation_acc1 = 0;
};
/// A line with "kind": "step".
struct StepRecord {
  std::string stage;
  double loss = 0;
};
struct TrainingLog {
  std::vector<EpochRecord> epochs;
  std::vector<StepRecord> steps;
};

/// Reads metrics.jsonl. Lines of other kinds are passed over, and so is a last line without its line end, which a
/// stopped run leaves. Throws Error that names the file and the line.
TrainingLog read_training_log(const std::filesystem::path& path);
/// The same for the content of a file; `where` is named in errors.
TrainingLog parse_training_log(std::string_view text, const std::string& where);

/// The stages of the log in the order of their first line.
std::vector<std::string> stages_of(const TrainingLog& log);

}  // namespace attune

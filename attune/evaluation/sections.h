#pragma once

#include <filesystem>
#include <string>

#include "attune/evaluation/report.h"

namespace attune {

/// The parts of a report as HTML, each empty where the data does not have it. `prefix` makes the ids of one result
/// different from those of the next.

/// In one sentence and four numbers.
std::string headline(const Results& results);
/// Every domain and group: floor, zero-shot, learned with its interval, difference.
std::string domain_section(const Results& results, const std::string& prefix);
std::string class_section(const Results& results, const std::string& prefix);
std::string confusion_section(const Results& results, const std::string& prefix);
/// Its inside: the matrix and the most frequent confusions.
std::string confusion_matrix(const std::vector<std::string>& classes,
                             const std::vector<std::vector<std::int64_t>>& counts);
std::string calibration_section(const Results& results, const std::string& prefix);
std::string forgetting_section(const Results& results, const std::string& prefix);
/// Pictures with right and wrong answers, embedded; relative paths begin at `folder`.
std::string example_section(const Results& results, const std::filesystem::path& folder, const std::string& prefix);
std::string training_section(const TrainingLog& log, const std::string& prefix);
std::string provenance_section(const Run& run, const std::string& prefix);

/// "CoOp" for "coop" and so on; other names as they are.
std::string shown_method(const std::string& method);
/// Names from data with underscores as spaces, escaped.
std::string shown_name(const std::string& name);
/// "learned" or, where nothing was learned, "zero-shot".
std::string shown_answerer(const Results& results);

}  // namespace attune

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "attune/evaluation/study_table.h"

namespace attune {

/// The column by which a study is judged: the average over all pictures, the harmonic mean where there is one, or the
/// only column. None where nothing was measured.
std::optional<std::size_t> main_column(const StudyTable& table);

// The parts of a study's page as HTML, each empty where the study does not have it.

/// Runs without results, and why.
std::string failure_section(const StudyRecord& study);
/// Means and deviations: one table for all pictures and one for each group.
std::string table_section(const StudyTable& table);
/// For every column, methods as bars with 95 % intervals, zero-shot and floor beside them.
std::string bar_section(const StudyTable& table);
/// Accuracy over the number of shots, where there are several.
std::string curve_section(const StudyTable& table);
/// Claimed against right, over all test sets and seeds at the largest number of shots.
std::string calibration_section(const StudyRecord& study);
std::string provenance_section(const StudyRecord& study);

}  // namespace attune

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "attune/evaluation/results.h"
#include "attune/evaluation/study_record.h"

namespace attune {

/// The confusions of the row that is best in the study's main column. `results_of` gives what the run of a name
/// measured, an entry a test set in the order of its scores; sources are left out.
std::vector<StudyConfusion> best_confusions(const StudyRecord& study,
                                            const std::function<std::vector<Results>(const std::string&)>& results_of);

/// As matrices with the most frequent confusions; empty where the study has none.
std::string confusion_section(const StudyRecord& study);

}  // namespace attune

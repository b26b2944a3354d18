#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/clip/model.h"
#include "attune/evaluation/study_record.h"

namespace attune {

/// What the learned tokens of every method lie near, of its first run with the largest number of shots; `runs` is the
/// folder of the runs. Methods without learned text tokens are left out, and so are tokens beyond the first two dozen.
std::vector<StudyWords> learned_words(const StudyRecord& study, const ClipModel& model,
                                      const std::filesystem::path& runs);

/// As a table a method; empty where the study has none.
std::string words_section(const StudyRecord& study);

}  // namespace attune

#pragma once

#include <filesystem>
#include <string>

#include "attune/evaluation/study_record.h"

namespace attune {

/// A study as one HTML page that needs no network. Equal studies give equal text.
std::string study_report_html(const StudyRecord& study);
void write_study_report(const StudyRecord& study, const std::filesystem::path& path);

}  // namespace attune

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/evaluation/results.h"
#include "attune/evaluation/training_log.h"

namespace attune {

/// What a run folder tells. `folder` is where relative paths of example images begin.
struct Run {
  std::string name;
  std::filesystem::path folder;
  std::string config;  // config.yaml; empty where there is none
  TrainingLog log;     // empty where nothing was trained
  std::vector<Results> results;
};

/// Reads results.json, which must be there, and config.yaml and metrics.jsonl, which may be missing (an evaluation
/// alone has neither).
Run read_run(const std::filesystem::path& folder);

/// The report as one HTML page that needs no network. Equal runs give equal text. Example images that cannot be read
/// are shown as missing, with a warning in the log. Throws Error where there are no runs.
std::string report_html(const std::vector<Run>& runs);

/// Writes the page to a file.
void write_report(const std::vector<Run>& runs, const std::filesystem::path& path);
void write_report(const std::vector<std::filesystem::path>& folders, const std::filesystem::path& path);

}  // namespace attune

#include "attune/evaluation/report.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/cli/common.h"
#include "attune/cli/verbs.h"
#include "attune/evaluation/study_report.h"

namespace attune {
namespace {

struct ReportOptions {
  Common common;
  std::vector<std::string> runs;
  std::string out;
};

void run_report(const ReportOptions& options) {
  const std::vector<std::filesystem::path> folders(options.runs.begin(), options.runs.end());
  const std::filesystem::path out =
      options.out.empty() ? folders.front() / "report.html" : std::filesystem::path(options.out);
  const auto is_study = [](const std::filesystem::path& one) { return std::filesystem::exists(study_file(one)); };
  if (std::any_of(folders.begin(), folders.end(), is_study)) {
    if (folders.size() > 1)
      throw UsageError("report: expected the folder of one study, or folders of runs, found a study among others");
    write_study_report(read_study(folders.front()), out);
  } else {
    write_report(folders, out);
  }
  if (options.common.json) {
    print_json({{"report", out.string()}});
  } else {
    say(options.common, fmt::format("report: {}", out.string()));
  }
}

}  // namespace

void add_report(CLI::App& app) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = app.add_subcommand("report", "Writes one self-contained HTML page about runs, or about a study");
  verb->add_option("runs", options->runs, "folders of runs, or the folder of one study")
      ->required()
      ->check(CLI::ExistingDirectory);
  verb->add_option("--out", options->out, "file to write (default: report.html in the first folder)");
  add_common(*verb, options->common);
  verb->callback([options] { run_report(*options); });
}

}  // namespace attune

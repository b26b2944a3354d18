#include "attune/evaluation/report.h"

#include <fmt/format.h>

#include "attune/cli/common.h"
#include "attune/cli/verbs.h"

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
  write_report(folders, out);
  if (options.common.json) {
    print_json({{"report", out.string()}});
  } else {
    say(options.common, fmt::format("report: {}", out.string()));
  }
}

}  // namespace

void add_report(CLI::App& app) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = app.add_subcommand("report", "Writes one self-contained HTML page about runs");
  verb->add_option("runs", options->runs, "folders of runs")->required()->check(CLI::ExistingDirectory);
  verb->add_option("--out", options->out, "file to write (default: report.html in the first folder)");
  add_common(*verb, options->common);
  verb->callback([options] { run_report(*options); });
}

}  // namespace attune

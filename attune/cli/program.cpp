#include "attune/cli/program.h"

#include <csignal>
#include <cstdio>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/cli/common.h"
#include "attune/cli/usage_problem.h"
#include "attune/cli/verbs.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

void on_signal(int) {
  // The second request ends the program at once.
  if (stop_requested()) std::_Exit(130);
  request_stop();
}

void print_log(Severity severity, std::string_view text) {
  fmt::print(stderr, "{}{}\n", severity == Severity::kWarning ? "warning: " : "", text);
}

}  // namespace

int run_program(int count, char** arguments) {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  set_log_sink(print_log);
  set_command_line(count, arguments);

  CLI::App app("Attune adapts a vision-language model to your images by learning its prompts.", "attune");
  app.set_version_flag("--version", version());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer("Run \"attune VERB --help\" for the options of a verb. --model pocket is the small model that ships.");
  add_verbs(app);
  try {
    app.parse(count, arguments);
    return 0;
  } catch (const CLI::ParseError& problem) {
    if (problem.get_exit_code() == 0) return app.exit(problem);  // --help and --version
    fmt::print(stderr, "{}\nRun \"attune --help\" or \"attune VERB --help\" for what there is.\n",
               usage_problem(app, problem));
    return 2;
  } catch (const UsageError& problem) {
    fmt::print(stderr, "attune: {}\n", problem.what());
    return 2;
  } catch (const Stopped& stopped) {
    fmt::print(stderr, "attune: stopped; {}\n", stopped.how_to_go_on);
    return 130;
  } catch (const std::exception& problem) {
    fmt::print(stderr, "attune: {}\n", problem.what());
    return 1;
  }
}

}  // namespace attune

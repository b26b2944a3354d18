#include "attune/cli/program.h"

#include <csignal>
#include <cstdio>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/cli/common.h"
#include "attune/cli/help.h"
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

/// On standard error, after what was said before on standard output.
void print_problem(std::string_view text) {
  std::fflush(stdout);
  fmt::print(stderr, "{}\n", text);
}

void print_log(Severity severity, std::string_view text) {
  print_problem(fmt::format("{}{}", severity == Severity::kWarning ? "warning: " : "", text));
}

int run_verb(int count, char** arguments) {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  set_log_sink(print_log);
  set_command_line(count, arguments);

  CLI::App app("Attune adapts a vision-language model to your images by learning its prompts.", "attune");
  app.set_version_flag("--version", version());
  app.require_subcommand(1);
  app.formatter(help_formatter());
  app.footer("Run \"attune VERB --help\" for the options of a verb. --model pocket is the small model that ships.");
  add_verbs(app);
  try {
    app.parse(count, arguments);
    return 0;
  } catch (const CLI::ParseError& problem) {
    if (problem.get_exit_code() == 0) return app.exit(problem);  // --help and --version
    print_problem(usage_problem(app, problem) + "\nRun \"attune --help\" or \"attune VERB --help\" for what there is.");
    return 2;
  } catch (const UsageError& problem) {
    print_problem(fmt::format("attune: {}", problem.what()));
    return 2;
  } catch (const Stopped& stopped) {
    print_problem(fmt::format("attune: stopped; {}", stopped.how_to_go_on));
    return 130;
  } catch (const std::exception& problem) {
    print_problem(fmt::format("attune: {}", problem.what()));
    return 1;
  }
}

}  // namespace

int run_program(int count, char** arguments) {
  const int status = run_verb(count, arguments);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  print_problem("attune: standard output: expected to be written, but not all was taken (is the disk full?)");
  return status == 0 ? 1 : status;
}

}  // namespace attune

#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace attune {

/// What is wrong with the command line that `app` refused with `problem`, in one line: the first word that is no verb
/// or option of the verb that was chosen, with the nearest known one, else CLI11's own words. A misspelt option is
/// named before one that is missing. Where the command line ends before a verb, its verbs are listed.
std::string usage_problem(const CLI::App& app, const CLI::ParseError& problem);

}  // namespace attune

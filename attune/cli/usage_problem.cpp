#include "attune/cli/usage_problem.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/config.h"

namespace attune {
namespace {

/// The verb that the command line chose, as far as it was understood.
const CLI::App& chosen_verb(const CLI::App& app) {
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
  return *verb;
}

std::string full_name(const CLI::App& verb) {
  const CLI::App* above = verb.get_parent();
  return above == nullptr ? verb.get_name() : full_name(*above) + " " + verb.get_name();
}

std::vector<std::string> verbs_of(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::App* below : verb.get_subcommands(nullptr)) names.push_back(below->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

}  // namespace

std::string usage_problem(const CLI::App& app, const CLI::ParseError& problem) {
  const CLI::App& verb = chosen_verb(app);
  const std::string name = full_name(verb);
  const bool is_missing = dynamic_cast<const CLI::RequiredError*>(&problem) != nullptr;
  const bool is_extra = dynamic_cast<const CLI::ExtrasError*>(&problem) != nullptr;
  if (!is_missing && !is_extra) return fmt::format("{}: {}", name, problem.what());
  const std::vector<std::string> verbs = verbs_of(verb), left = verb.remaining();
  if (left.empty()) {
    if (is_missing && !verbs.empty())
      return fmt::format("{}: expected one of {}, found nothing", name, fmt::join(verbs, ", "));
    return fmt::format("{}: {}", name, problem.what());
  }
  const std::string word = left.front().substr(0, left.front().find('='));
  if (word.starts_with('-')) {
    return fmt::format("{}: expected one of its options, found {}{}", name, word,
                       did_you_mean(nearest(word, options_of(verb))));
  }
  if (verbs.empty()) return fmt::format("{}: expected nothing more, found {}", name, word);
  return fmt::format("{}: expected one of {}, found {}{}", name, fmt::join(verbs, ", "), word,
                     did_you_mean(nearest(word, verbs)));
}

}  // namespace attune

#include "attune/evaluation/study_words.h"

#include <limits>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/log.h"
#include "attune/evaluation/explain_words.h"
#include "attune/evaluation/html.h"
#include "attune/methods/adapter.h"

namespace attune {
namespace {

constexpr std::size_t kMostTokens = 24;

const StudyRun* shown_run(const StudyRecord& study, const std::string& method) {
  const auto size = [](const StudyRun& run) { return *run.shots == 0 ? std::numeric_limits<int>::max() : *run.shots; };
  const StudyRun* best = nullptr;
  for (const StudyRun& run : study.runs) {
    if (run.method != method || !run.shots || run.scores.empty()) continue;
    if (best == nullptr || size(run) > size(*best)) best = &run;
  }
  return best;
}

StudyWords words_of(const std::string& method, const std::string& run, const std::vector<TokenWords>& tokens) {
  StudyWords found{method, run, {}, 0};
  for (const TokenWords& one : tokens) {
    if (found.tokens.size() == kMostTokens) {
      ++found.left_out;
      continue;
    }
    const std::string place = one.part.empty() ? one.tensor : fmt::format("{}, {}", one.tensor, one.part);
    found.tokens.push_back({place, one.token, one.length, one.cosine.at(0).word, one.cosine.at(0).value});
  }
  return found;
}

}  // namespace

std::vector<StudyWords> learned_words(const StudyRecord& study, const ClipModel& model,
                                      const std::filesystem::path& runs) {
  std::vector<StudyWords> all;
  std::optional<WordSpace> space;
  for (const StudiedMethod& method : study.methods) {
    const StudyRun* run = shown_run(study, method.label);
    if (run == nullptr) continue;
    try {
      const std::filesystem::path adapter = runs / run->name / "adapter";
      if (!space) space.emplace(model, /*pieces=*/false);
      const std::vector<TokenWords> tokens = words_of_adapter(
          read_adapter_tensors(adapter), *space, read_adapter_info(adapter).classes.names, model.config.text.width, 1);
      if (!tokens.empty()) all.push_back(words_of(method.label, run->name, tokens));
    } catch (const Error& problem) {
      // The numbers of a study do not depend on it.
      log_warning(fmt::format("nearest words of {} are left out: {}", run->name, problem.what()));
    }
  }
  return all;
}

std::string words_section(const StudyRecord& study) {
  if (study.words.empty()) return "";
  std::string html = html_note(
      "The whole word whose embedding is nearest by cosine to each learned token, of one run of each method. Most "
      "learned "
      "tokens are further from every word than words are from each other; then the word says nothing. "
      "<code>attune explain</code> tells more about a run.");
  for (const StudyWords& method : study.words) {
    Table table{method.left_out > 0 ? fmt::format("{}; {} more tokens", method.run, method.left_out) : method.run,
                {{"Tensor"}, {"Token", true}, {"Nearest word"}, {"Cosine", true}, {"Length", true, true}},
                {},
                ""};
    for (const StudyToken& one : method.tokens) {
      table.rows.push_back({{{escape(one.place)},
                             {std::to_string(one.token + 1)},
                             {escape(one.word)},
                             {fmt::format("{:.2f}", one.cosine)},
                             {fmt::format("{:.2f}", one.length)}}});
    }
    html += html_details(method.method, html_table(table));
  }
  return html;
}

}  // namespace attune

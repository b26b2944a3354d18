#include "attune/evaluation/study_confusion.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/evaluation/html.h"
#include "attune/evaluation/sections.h"
#include "attune/evaluation/study_sections.h"

namespace attune {
namespace {

void add(const Results& results, const StudyScore& score, StudyConfusion start, std::vector<StudyConfusion>& all) {
  auto found =
      std::find_if(all.begin(), all.end(), [&](const StudyConfusion& one) { return one.classes == results.classes; });
  if (found == all.end()) {
    start.classes = results.classes;
    start.counts.assign(results.classes.size(), std::vector<std::int64_t>(results.classes.size(), 0));
    found = all.insert(all.end(), std::move(start));
  }
  if (std::find(found->tests.begin(), found->tests.end(), score.test) == found->tests.end())
    found->tests.push_back(score.test);
  for (std::size_t label = 0; label < found->counts.size(); ++label) {
    for (std::size_t answer = 0; answer < found->counts.size(); ++answer)
      found->counts[label][answer] += results.measured.confusion.at(label).at(answer);
  }
}

}  // namespace

std::vector<StudyConfusion> best_confusions(const StudyRecord& study,
                                            const std::function<std::vector<Results>(const std::string&)>& results_of) {
  const StudyTable table = study_table(study);
  const std::optional<std::size_t> main = main_column(table);
  const StudyTableRow* best = nullptr;
  for (const StudyTableRow& row : table.rows) {
    if (!main || !row.cells[*main]) continue;
    if (best == nullptr || row.cells[*main]->mean > best->cells[*main]->mean) best = &row;
  }
  std::vector<StudyConfusion> all;
  if (best == nullptr) return all;
  for (const StudyRun& run : study.runs) {
    if (run.method != best->method || run.shots != best->shots || run.scores.empty()) continue;
    const std::vector<Results> results = results_of(run.name);
    for (std::size_t t = 0; t < std::min(results.size(), run.scores.size()); ++t) {
      if (run.scores[t].role == Role::kSource || results[t].measured.confusion.empty()) continue;
      add(results[t], run.scores[t], {best->method, best->shots, {}, {}, {}}, all);
    }
  }
  return all;
}

std::string confusion_section(const StudyRecord& study) {
  std::string html;
  for (const StudyConfusion& one : study.confusions) {
    const std::string shots = shots_text(one.shots);
    const std::string name = fmt::format("{}{} on {}, all seeds together", one.method,
                                         shots.empty() ? "" : ", " + shots + ",", fmt::join(one.tests, ", "));
    const std::string matrix = confusion_matrix(one.classes, one.counts);
    html += study.confusions.size() == 1 ? html_note(escape(name) + ".") + matrix : html_details(name, matrix);
  }
  return html;
}

}  // namespace attune

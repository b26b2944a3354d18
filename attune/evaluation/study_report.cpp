#include "attune/evaluation/study_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/files.h"
#include "attune/evaluation/charts.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/sections.h"
#include "attune/evaluation/study_table.h"

namespace attune {
namespace {

std::string row_name(const StudyTableRow& row) {
  const std::string shots = shots_text(row.shots);
  return escape(row.method) + (shots.empty() ? "" : fmt::format("<span class=\"sub\">{}</span>", shots));
}

std::string cell_html(const std::optional<Summary>& cell, bool best) {
  if (!cell) return "–";
  std::string html = per_cent_plain(cell->mean);
  if (best) html = "<strong>" + html + "</strong>";
  if (cell->count > 1) html += fmt::format("<span class=\"sub\">± {}</span>", per_cent_plain(cell->deviation));
  return html;
}

/// The largest mean of a column, to the digit that is shown.
double best_in(const StudyTable& table, std::size_t column) {
  double best = -1;
  for (const StudyTableRow& row : table.rows) {
    if (row.cells[column]) best = std::max(best, std::round(1000 * row.cells[column]->mean));
  }
  return best;
}

std::string table_section(const StudyTable& table) {
  Table shown{"Top-1 accuracy in per cent: mean over seeds, standard deviation below; the best of a column is bold",
              {{"Method"}},
              {},
              "study"};
  for (const StudyColumn& column : table.columns) shown.columns.push_back({escape(heading(column)), true});
  for (const StudyTableRow& row : table.rows) {
    TableRow line{{{row_name(row)}}, "top"};
    for (std::size_t c = 0; c < row.cells.size(); ++c) {
      const bool best = row.cells[c] && std::round(1000 * row.cells[c]->mean) == best_in(table, c);
      line.cells.push_back({cell_html(row.cells[c], best)});
    }
    shown.rows.push_back(std::move(line));
  }
  const bool floors =
      std::any_of(table.floors.begin(), table.floors.end(), [](const auto& floor) { return floor.has_value(); });
  if (floors) {
    TableRow line{{{"Nearest pixels"}}, "group"};
    for (const std::optional<double>& floor : table.floors)
      line.cells.push_back({floor ? per_cent_plain(*floor) : "–"});
    shown.rows.push_back(std::move(line));
  }
  return html_section("results", "Results", "<div class=\"scroll\">" + html_table(shown) + "</div>");
}

}  // namespace

std::string study_report_html(const StudyRecord& study) {
  const StudyTable table = study_table(study);
  const std::string title = fmt::format("{} on {}", study.protocol, fmt::join(study.datasets, ", "));
  return html_page(title, fmt::format("<header><p class=\"overline\">Attune study</p><h1>{}</h1></header>\n<main>\n",
                                      escape(title)) +
                              table_section(table) + "</main>\n");
}

void write_study_report(const StudyRecord& study, const std::filesystem::path& path) {
  write_file(path, study_report_html(study));
}

}  // namespace attune

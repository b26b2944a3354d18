#include "attune/evaluation/study_report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/files.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/published.h"
#include "attune/evaluation/study_confusion.h"
#include "attune/evaluation/study_sections.h"
#include "attune/evaluation/study_words.h"

namespace attune {
namespace {

std::string protocol_in_words(const StudyRecord& study) {
  switch (protocol_named(study.protocol)) {
    case Protocol::kFewShot:
      return "Few-shot learning";
    case Protocol::kBaseToNew:
      return "From base to new classes";
    case Protocol::kCrossDataset:
      return "From one data set to others";
    case Protocol::kDgMulti:
      return "Leaving one domain out";
    case Protocol::kDgSingle:
      return "From a single domain";
    case Protocol::kDgCross:
      return "From the domains of one data set to others";
  }
  return study.protocol;
}

std::string facts(const StudyRecord& study) {
  return fmt::format("{} · {} · {} · {}", escape(study.model), counted(study.methods.size(), "method", "methods"),
                     counted(study.runs.size(), "run", "runs"), counted(study.seeds.size(), "seed", "seeds"));
}

/// The best row of the column that matters most, against zero-shot.
std::string lead(const StudyTable& table) {
  const std::optional<std::size_t> main = main_column(table);
  if (!main) return "";
  const StudyTableRow* best = nullptr;
  const StudyTableRow* before = nullptr;
  for (const StudyTableRow& row : table.rows) {
    if (!row.cells[*main]) continue;
    if (!row.shots && before == nullptr) before = &row;
    if (best == nullptr || row.cells[*main]->mean > best->cells[*main]->mean) best = &row;
  }
  if (best == nullptr) return "";
  const StudyColumn& column = table.columns[*main];
  const std::string hm = column.role == "HM" ? " (HM)" : "";
  const std::string place = column.average ? "on average" + hm : "on " + escape(heading(column));
  std::string text =
      fmt::format("Best {}: <strong>{}</strong>{} with {}", place, escape(best->method),
                  best->shots ? ", " + shots_text(best->shots) + "," : "", per_cent(best->cells[*main]->mean));
  if (before != nullptr && before != best) {
    text += fmt::format(", {} points above {}", per_cent_plain(best->cells[*main]->mean - before->cells[*main]->mean),
                        escape(before->method));
  }
  return "<p class=\"lead\">" + text + ".</p>\n";
}

}  // namespace

std::string study_report_html(const StudyRecord& study) {
  const StudyTable table = study_table(study);
  struct Part {
    std::string id, name, html;
  };
  const Part parts[] = {{"failures", "Failures", failure_section(study)},
                        {"results", "Results", table_section(table)},
                        {"bars", "Intervals", bar_section(table)},
                        {"curves", "Shots", curve_section(table)},
                        {"calibration", "Calibration", calibration_section(study)},
                        {"confusion", "Confusions", confusion_section(study)},
                        {"words", "Learned words", words_section(study)},
                        {"published", "Published by others", published_section(study, table)},
                        {"provenance", "Provenance", provenance_section(study)}};
  std::string items, body;
  for (const Part& part : parts) {
    if (part.html.empty()) continue;
    items += fmt::format("<li><a href=\"#{}\">{}</a></li>", part.id, part.name);
    body += html_section(part.id, part.name, part.html);
  }
  const std::string title = fmt::format("{}: {}", protocol_in_words(study), fmt::join(study.datasets, ", "));
  return html_page(
      title, fmt::format("<header><p class=\"overline\">Attune study · {}</p><h1>{}</h1><p class=\"facts\">{}</p>\n{}"
                         "<nav aria-label=\"Contents\"><ul>{}</ul></nav>\n</header>\n<main>\n{}</main>\n"
                         "<footer>Written by Attune {}. This page is complete in itself and asks nothing of the "
                         "network.</footer>\n",
                         escape(study.protocol), escape(title), facts(study), lead(table), items, body,
                         escape(study.version)));
}

void write_study_report(const StudyRecord& study, const std::filesystem::path& path) {
  write_file(path, study_report_html(study));
}

}  // namespace attune

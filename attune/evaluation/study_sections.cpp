#include "attune/evaluation/study_sections.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/evaluation/charts.h"
#include "attune/evaluation/html.h"

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

/// As it is shown, so that equal texts are equally good.
double rounded(double share) {
  return std::round(1000 * share);
}

double best_in(const StudyTable& table, std::size_t column) {
  double best = -1;
  for (const StudyTableRow& row : table.rows) {
    if (row.cells[column]) best = std::max(best, rounded(row.cells[column]->mean));
  }
  return best;
}

/// The columns of one group, in the table's order.
std::vector<std::size_t> columns_in(const StudyTable& table, const std::string& group) {
  std::vector<std::size_t> places;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (table.columns[c].group == group) places.push_back(c);
  }
  return places;
}

std::vector<std::string> groups_of(const StudyTable& table) {
  std::vector<std::string> groups;
  for (const StudyColumn& column : table.columns) {
    if (std::find(groups.begin(), groups.end(), column.group) == groups.end()) groups.push_back(column.group);
  }
  return groups;
}

std::string group_name(const std::string& group) {
  if (group.empty()) return "All pictures";
  return group == "held_out" ? "Held-out concepts" : "Seen concepts";
}

std::string group_table(const StudyTable& table, const std::string& group, bool named) {
  const std::vector<std::size_t> places = columns_in(table, group);
  Table shown{"Top-1 accuracy in per cent, mean over seeds, standard deviation below; bold: the best",
              {{"Method"}},
              {},
              "study"};
  bool floors = false;
  for (const std::size_t c : places) {
    StudyColumn column = table.columns[c];
    column.group.clear();
    shown.columns.push_back({escape(heading(column)), true});
    floors = floors || table.floors[c].has_value();
  }
  for (const StudyTableRow& row : table.rows) {
    TableRow line{{{row_name(row)}}, "top"};
    for (const std::size_t c : places)
      line.cells.push_back({cell_html(row.cells[c], row.cells[c] && rounded(row.cells[c]->mean) == best_in(table, c))});
    shown.rows.push_back(std::move(line));
  }
  if (floors) {
    TableRow line{{{"nearest pixels"}}, "group"};
    for (const std::size_t c : places) line.cells.push_back({table.floors[c] ? per_cent_plain(*table.floors[c]) : "–"});
    shown.rows.push_back(std::move(line));
  }
  return (named ? "<h3>" + group_name(group) + "</h3>\n" : "") + "<div class=\"scroll\" tabindex=\"0\">" +
         html_table(shown) + "</div>\n";
}

/// The numbers of shots, in the order of the rows.
std::vector<int> shots_of(const StudyTable& table) {
  std::vector<int> shots;
  for (const StudyTableRow& row : table.rows) {
    if (row.shots && std::find(shots.begin(), shots.end(), *row.shots) == shots.end()) shots.push_back(*row.shots);
  }
  return shots;
}

/// One column of the study over the number of shots: a row for each method.
std::string table_over_shots(const StudyTable& table, std::size_t c, const std::vector<int>& shots) {
  Table shown{"Top-1 accuracy in per cent, mean over seeds, standard deviation below; bold: the best",
              {{"Method"}},
              {},
              "study"};
  for (const int k : shots) shown.columns.push_back({shots_text(k), true});
  const auto cell_at = [&](const std::string& method, int k) -> const std::optional<Summary>* {
    for (const StudyTableRow& row : table.rows) {
      if (row.method == method && row.shots.value_or(k) == k) return &row.cells[c];
    }
    return nullptr;
  };
  const double best = best_in(table, c);
  for (const StudyTableRow& row : table.rows) {
    if (!shown.rows.empty() && shown.rows.back().cells[0].html == escape(row.method)) continue;
    TableRow line{{{escape(row.method)}}, "top"};
    for (const int k : shots) {
      const std::optional<Summary>* cell = cell_at(row.method, k);
      const bool known = cell != nullptr && cell->has_value();
      line.cells.push_back({known ? cell_html(*cell, rounded((*cell)->mean) == best) : "–"});
    }
    shown.rows.push_back(std::move(line));
  }
  return "<div class=\"scroll\" tabindex=\"0\">" + html_table(shown) + "</div>\n";
}

/// Averages first: they are what most readers look for.
std::vector<std::size_t> averages_first(const StudyTable& table) {
  std::vector<std::size_t> order;
  for (const bool average : {true, false}) {
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (table.columns[c].average == average) order.push_back(c);
    }
  }
  return order;
}

/// Parts under headings, from the `open`-th on folded.
std::string folded_after(std::size_t open, const std::vector<std::pair<std::string, std::string>>& parts) {
  std::string html;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& [name, part] = parts[i];
    html += i < open ? "<h3>" + escape(name) + "</h3>\n" + part : html_details(name, part);
  }
  return html;
}

/// The row that learns nothing, to compare with; none where it is missing.
const StudyTableRow* unlearned(const StudyTable& table) {
  const auto found =
      std::find_if(table.rows.begin(), table.rows.end(), [](const StudyTableRow& row) { return !row.shots; });
  return found == table.rows.end() ? nullptr : &*found;
}

std::optional<Interval> interval_of(const Summary& cell) {
  if (!std::isfinite(cell.half_width)) return std::nullopt;
  return Interval{std::max(0.0, cell.mean - cell.half_width), std::min(1.0, cell.mean + cell.half_width)};
}

double largest_in(const StudyTable& table) {
  double largest = 0;
  for (const StudyTableRow& row : table.rows) {
    for (const auto& cell : row.cells) {
      if (cell) largest = std::max({largest, cell->mean + cell->deviation, cell->mean});
    }
  }
  for (const auto& floor : table.floors) largest = std::max(largest, floor.value_or(0));
  return largest;
}

std::string bars(const StudyTable& table, std::size_t c, double top) {
  Table shown{"", {{"Method"}, {"Mean", true}, {"95 % interval", true, true}, {"To zero-shot", true}}, {}, "bars"};
  shown.columns.push_back({track_axis(top), false, false, "", "plotted"});
  const StudyTableRow* before = unlearned(table);
  const bool compared = before != nullptr && before->cells[c];
  for (const StudyTableRow& row : table.rows) {
    if (!row.cells[c]) continue;
    const Summary& cell = *row.cells[c];
    const std::optional<Interval> interval = interval_of(cell);
    Track mark{cell.mean, interval, {}, table.floors[c]};
    if (compared) mark.before = before->cells[c]->mean;
    const bool itself = &row == before;
    shown.rows.push_back({{{row_name(row)},
                           {"<strong>" + per_cent_plain(cell.mean) + "</strong>"},
                           {interval ? per_cent_range(*interval) : "–"},
                           {compared && !itself ? points(cell.mean - before->cells[c]->mean) : "–"},
                           {track(mark, top)}},
                          "top"});
  }
  return html_table(shown);
}

/// A curve of a method over its numbers of shots; a flat one over `range` where it learns nothing.
Series curve_of(const StudyTable& table, const std::string& method, std::size_t c, const std::vector<double>& range) {
  Series series{method, {}, {}};
  const auto add = [&](double x, const Summary& cell) {
    series.x.push_back(x);
    series.y.push_back(cell.mean);
    series.low.push_back(cell.mean - cell.deviation);
    series.high.push_back(cell.mean + cell.deviation);
  };
  for (const StudyTableRow& row : table.rows) {
    if (row.method != method || !row.cells[c]) continue;
    if (!row.shots) {
      for (const double x : range) add(x, *row.cells[c]);
    } else if (*row.shots > 0) {
      add(*row.shots, *row.cells[c]);
    }
  }
  return series;
}

/// Bins of several test sets and seeds as one.
std::vector<ReliabilityBin> pooled(const std::vector<const StudyScore*>& scores) {
  std::vector<ReliabilityBin> bins;
  for (const StudyScore* score : scores) {
    if (bins.empty()) {
      bins = score->reliability;
      for (ReliabilityBin& bin : bins) bin.count = 0, bin.confidence = bin.accuracy = 0;
    }
    for (std::size_t b = 0; b < std::min(bins.size(), score->reliability.size()); ++b) {
      const ReliabilityBin& bin = score->reliability[b];
      if (bin.count == 0) continue;
      bins[b].count += bin.count;
      bins[b].confidence += bin.confidence * static_cast<double>(bin.count);
      bins[b].accuracy += bin.accuracy * static_cast<double>(bin.count);
    }
  }
  for (ReliabilityBin& bin : bins) {
    bin.confidence /= static_cast<double>(bin.count);  // NaN where it is empty
    bin.accuracy /= static_cast<double>(bin.count);
  }
  return bins;
}

/// The scores of a method at its largest number of shots (all samples before any number).
std::vector<const StudyScore*> last_scores(const StudyRecord& study, const std::string& method) {
  const auto size = [](const StudyRun& run) {
    return run.shots.value_or(0) == 0 ? std::numeric_limits<int>::max() : *run.shots;
  };
  int largest = 0;
  for (const StudyRun& run : study.runs) {
    if (run.method == method && !run.scores.empty()) largest = std::max(largest, size(run));
  }
  std::vector<const StudyScore*> scores;
  for (const StudyRun& run : study.runs) {
    if (run.method != method || size(run) != largest) continue;
    for (const StudyScore& score : run.scores) {
      if (score.role != Role::kSource) scores.push_back(&score);
    }
  }
  return scores;
}

double mean_measure(const std::vector<const StudyScore*>& scores, double Metrics::*member) {
  double sum = 0;
  for (const StudyScore* score : scores) sum += score->metrics.*member;
  return sum / static_cast<double>(scores.size());
}

std::string fact(std::string_view name, const std::string& value) {
  return value.empty() ? "" : fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, value);
}

}  // namespace

std::optional<std::size_t> main_column(const StudyTable& table) {
  std::optional<std::size_t> best;
  int best_rank = -1;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const StudyColumn& column = table.columns[c];
    if (!column.group.empty() || column.role == "source") continue;
    const int rank = (column.average ? 2 : 0) + (column.role == "HM" ? 1 : 0);
    if (rank > best_rank) best = c, best_rank = rank;
  }
  return best;
}

std::string failure_section(const StudyRecord& study) {
  Table table{"Runs without results", {{"Run"}, {"Why"}}, {}, ""};
  for (const StudyRun& run : study.runs) {
    if (!run.error.empty()) table.rows.push_back({{{escape(run.name)}, {escape(run.error)}}});
  }
  return table.rows.empty() ? "" : html_table(table);
}

std::string table_section(const StudyTable& table) {
  constexpr std::size_t kMostOpen = 3;
  const std::vector<int> shots = shots_of(table);
  if (shots.size() > 1) {
    std::vector<std::pair<std::string, std::string>> parts;
    for (const std::size_t c : averages_first(table))
      parts.emplace_back(heading(table.columns[c]), table_over_shots(table, c, shots));
    return folded_after(kMostOpen, parts);
  }
  const std::vector<std::string> groups = groups_of(table);
  std::string html;
  for (const std::string& group : groups) html += group_table(table, group, groups.size() > 1);
  return html;
}

std::string bar_section(const StudyTable& table) {
  constexpr std::size_t kMostRows = 60;  // that are not folded away
  const double top = track_top(largest_in(table));
  const bool floors =
      std::any_of(table.floors.begin(), table.floors.end(), [](const auto& floor) { return floor.has_value(); });
  std::vector<std::pair<std::string, std::string>> parts;
  for (const std::size_t c : averages_first(table)) parts.emplace_back(heading(table.columns[c]), bars(table, c, top));
  const std::size_t open = std::max<std::size_t>(1, kMostRows / std::max<std::size_t>(1, table.rows.size()));
  return track_key("mean over seeds", "95 % interval (t)", "zero-shot", floors ? "nearest pixels" : "") +
         html_note(
             "The interval is of the mean over seeds: it says how much other draws of the training pictures would "
             "change it, and nothing about other test pictures. It needs two seeds.") +
         folded_after(open, parts);
}

std::string curve_section(const StudyTable& table) {
  constexpr std::size_t kLearnedInOne = 3;  // a chart holds four curves, one of them zero-shot
  std::vector<std::string> learned;
  std::vector<double> range;
  for (const StudyTableRow& row : table.rows) {
    if (row.shots && std::find(learned.begin(), learned.end(), row.method) == learned.end())
      learned.push_back(row.method);
  }
  for (const int k : shots_of(table)) {
    if (k > 0) range.push_back(k);  // "all" has no place on the axis
  }
  if (range.size() < 2) return "";
  std::sort(range.begin(), range.end());
  const StudyTableRow* before = unlearned(table);
  std::string charts;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    for (std::size_t first = 0; first < learned.size(); first += kLearnedInOne) {
      LineChart chart{heading(table.columns[c]), "training pictures a class", true, {}};
      for (std::size_t m = first; m < std::min(first + kLearnedInOne, learned.size()); ++m)
        chart.series.push_back(curve_of(table, learned[m], c, range));
      if (before != nullptr) chart.series.push_back(curve_of(table, before->method, c, {range.front(), range.back()}));
      charts += line_chart(chart);
    }
  }
  return html_note("Mean over seeds; the band is one standard deviation to either side.") + "<div class=\"pair\">\n" +
         charts + "</div>\n";
}

std::string calibration_section(const StudyRecord& study) {
  Table table{
      "Over all test sets and seeds at the largest number of shots, in per cent; the calibration error is the mean "
      "over test sets",
      {{"Method"}, {"Calibration error", true}, {"Top-1", true}, {"Top-5", true, true}, {"Mean per class", true}},
      {},
      ""};
  std::string charts;
  for (const StudiedMethod& method : study.methods) {
    const std::vector<const StudyScore*> scores = last_scores(study, method.label);
    if (scores.empty()) continue;
    table.rows.push_back({{{escape(method.label)},
                           {per_cent_plain(mean_measure(scores, &Metrics::ece))},
                           {per_cent_plain(mean_measure(scores, &Metrics::acc1))},
                           {per_cent_plain(mean_measure(scores, &Metrics::acc5))},
                           {per_cent_plain(mean_measure(scores, &Metrics::mean_per_class_recall))}}});
    charts += fmt::format("<div><h3>{}</h3>{}</div>\n", escape(method.label), reliability_chart(pooled(scores)));
  }
  if (table.rows.empty()) return "";
  return html_table(table) + html_details("Reliability diagrams", "<div class=\"pair\">\n" + charts + "</div>\n");
}

std::string provenance_section(const StudyRecord& study) {
  std::vector<std::string> shots;
  for (const int k : study.shots) shots.push_back(shots_text(k));
  std::string html =
      "<dl class=\"provenance\">\n" + fact("Model", escape(study.model)) +
      fact("Weights", "<code>" + escape(study.pretrained) + "</code>") +
      fact("Data", escape(fmt::format("{}", fmt::join(study.datasets, ", ")))) +
      fact("Training pictures", escape(fmt::format("{}; draws: {}", fmt::join(shots, ", "), study.draw))) +
      fact("Seeds", fmt::format("{}", fmt::join(study.seeds, ", "))) + fact("Version", escape(study.version)) +
      fact("Command", study.command.empty() ? "" : "<code>" + escape(study.command) + "</code>") + "</dl>\n";
  for (const StudiedMethod& method : study.methods) {
    html += html_details(fmt::format("Settings of {} ({})", method.label, method.method),
                         "<pre>" + escape(method.config.dump(2)) + "</pre>\n");
  }
  Table runs{"", {{"Run"}, {"Training", true}, {"Validation", true, true}, {"Top-1", true}, {"Seconds", true}}, {}, ""};
  runs.caption = "Training and validation pictures; accuracy on each test set in per cent";
  for (const StudyRun& run : study.runs) {
    std::vector<std::string> numbers;
    for (const StudyScore& score : run.scores) numbers.push_back(per_cent_plain(score.metrics.acc1));
    runs.rows.push_back({{{escape(run.name)},
                          {whole(run.training_pictures)},
                          {whole(run.validation_pictures)},
                          {numbers.empty() ? "–" : fmt::format("{}", fmt::join(numbers, " · "))},
                          {fmt::format("{:.1f}", run.seconds)}}});
  }
  return html + html_details(fmt::format("All {} runs", study.runs.size()), html_table(runs));
}

}  // namespace attune

#include "attune/evaluation/study_table.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/files.h"
#include "attune/evaluation/tables.h"
#include "attune/formats/csv.h"

namespace attune {
namespace {

using SeedValues = std::map<std::uint64_t, double>;

bool same(const StudyColumn& a, const StudyColumn& b) {
  return a.name == b.name && a.group == b.group && a.role == b.role && a.average == b.average;
}

std::string role_text(Role role) {
  return role == Role::kTarget ? "" : std::string(name_of(role));
}

/// The accuracy that a score has in a column.
std::optional<double> accuracy_in(const StudyScore& score, const StudyColumn& column) {
  if (score.column != column.name || role_text(score.role) != column.role) return std::nullopt;
  if (column.group.empty()) return score.metrics.acc1;
  for (const NamedAccuracy& group : score.groups) {
    if (group.name == column.group) return group.accuracy.acc1;
  }
  return std::nullopt;
}

/// The columns that were measured, in the order of the runs; with a column's groups behind it.
std::vector<StudyColumn> measured_columns(const StudyRecord& study) {
  std::vector<StudyColumn> columns;
  const auto add = [&](const StudyColumn& column) {
    if (std::none_of(columns.begin(), columns.end(), [&](const StudyColumn& one) { return same(one, column); }))
      columns.push_back(column);
  };
  for (const StudyRun& run : study.runs) {
    for (const StudyScore& score : run.scores) {
      add({score.column, "", role_text(score.role)});
      if (score.groups.size() < 2) continue;
      for (const NamedAccuracy& group : score.groups) add({score.column, group.name, role_text(score.role)});
    }
  }
  return columns;
}

/// The runs of one row: those of a method and number of shots.
std::vector<const StudyRun*> runs_of(const StudyRecord& study, const StudyTableRow& row) {
  std::vector<const StudyRun*> runs;
  for (const StudyRun& run : study.runs) {
    if (run.method == row.method && run.shots == row.shots) runs.push_back(&run);
  }
  return runs;
}

SeedValues values_in(const std::vector<const StudyRun*>& runs, const StudyColumn& column) {
  std::map<std::uint64_t, std::pair<double, int>> sums;
  for (const StudyRun* run : runs) {
    for (const StudyScore& score : run->scores) {
      const std::optional<double> value = accuracy_in(score, column);
      if (!value || !std::isfinite(*value)) continue;
      sums[run->seed].first += *value;
      ++sums[run->seed].second;
    }
  }
  SeedValues values;
  for (const auto& [seed, sum] : sums) values[seed] = sum.first / sum.second;
  return values;
}

/// A function of the values of each seed that has all of them.
SeedValues combined(const std::vector<SeedValues>& parts, const std::function<double(const std::vector<double>&)>& of) {
  SeedValues result;
  if (parts.empty()) return result;
  for (const auto& [seed, unused] : parts[0]) {
    std::vector<double> values;
    for (const SeedValues& part : parts) {
      const auto found = part.find(seed);
      if (found != part.end()) values.push_back(found->second);
    }
    if (values.size() == parts.size()) result[seed] = of(values);
  }
  return result;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::optional<Summary> summary_of(const SeedValues& values) {
  if (values.empty()) return std::nullopt;
  std::vector<double> list;
  for (const auto& [seed, value] : values) list.push_back(value);
  return summarise(list);
}

/// The table's columns: what was measured, harmonic means beside base and new, averages at the end.
std::vector<StudyColumn> columns_of(const StudyRecord& study) {
  std::vector<StudyColumn> columns, averages;
  std::map<std::pair<std::string, std::string>, int> counts;  // measured columns by group and role
  for (const StudyColumn& column : measured_columns(study)) {
    columns.push_back(column);
    if (column.role == "new") columns.push_back({column.name, column.group, "HM"});
    if (column.role == "source") continue;
    if (++counts[{column.group, column.role}] != 2) continue;
    averages.push_back({"average", column.group, column.role, true});
    if (column.role == "new") averages.push_back({"average", column.group, "HM", true});
  }
  std::copy(averages.begin(), averages.end(), std::back_inserter(columns));
  return columns;
}

/// The values of a row in a column that is measured or an average of such.
SeedValues row_values(const std::vector<const StudyRun*>& runs, const std::vector<StudyColumn>& columns,
                      const StudyColumn& column) {
  if (!column.average) return values_in(runs, column);
  std::vector<SeedValues> parts;
  for (const StudyColumn& one : columns) {
    if (!one.average && one.group == column.group && one.role == column.role) parts.push_back(values_in(runs, one));
  }
  return combined(parts, mean_of);
}

std::optional<Summary> cell_of(const std::vector<const StudyRun*>& runs, const std::vector<StudyColumn>& columns,
                               const StudyColumn& column) {
  if (column.role != "HM") return summary_of(row_values(runs, columns, column));
  StudyColumn base = column, fresh = column;
  base.role = "base";
  fresh.role = "new";
  const SeedValues on_base = row_values(runs, columns, base), on_new = row_values(runs, columns, fresh);
  const std::optional<Summary> mean_base = summary_of(on_base), mean_new = summary_of(on_new);
  std::optional<Summary> result = summary_of(
      combined({on_base, on_new}, [](const std::vector<double>& pair) { return harmonic_mean(pair[0], pair[1]); }));
  if (result) result->mean = harmonic_mean(mean_base->mean, mean_new->mean);
  return result;
}

std::optional<double> floor_in(const StudyRecord& study, const StudyColumn& column) {
  for (const StudyRun& run : study.runs) {
    for (const StudyScore& score : run.scores) {
      const auto found = score.floors.find(column.group);
      if (accuracy_in(score, column) && found != score.floors.end()) return found->second;
    }
  }
  return std::nullopt;
}

std::string cell_text(const std::optional<Summary>& cell, const char* between) {
  if (!cell) return "-";
  if (cell->count < 2) return fmt::format("{:.1f}", 100 * cell->mean);
  return fmt::format("{:.1f}{}{:.1f}", 100 * cell->mean, between, 100 * cell->deviation);
}

/// Columns of text side by side, the first one to the left, the others to the right.
std::string aligned(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> widths(lines[0].size());
  const auto length = [](const std::string& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  };
  for (const auto& line : lines) {
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], length(line[c]));
  }
  std::string text;
  for (const auto& line : lines) {
    for (std::size_t c = 0; c < line.size(); ++c) {
      const std::string blanks(widths[c] - length(line[c]), ' ');
      text += c == 0 ? line[c] + blanks : "  " + blanks + line[c];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

/// The columns of one group.
std::string block_text(const StudyTable& table, const std::string& group) {
  std::vector<std::vector<std::string>> lines = {{"", ""}};
  std::vector<std::string> floors = {"nearest pixels", ""};
  bool any_floor = false;
  for (const StudyTableRow& row : table.rows) lines.push_back({row.method, shots_text(row.shots)});
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (table.columns[c].group != group) continue;
    lines[0].push_back(heading(table.columns[c]));
    for (std::size_t r = 0; r < table.rows.size(); ++r) lines[r + 1].push_back(cell_text(table.rows[r].cells[c], " ±"));
    floors.push_back(table.floors[c] ? fmt::format("{:.1f}", 100 * *table.floors[c]) : "-");
    any_floor = any_floor || table.floors[c];
  }
  if (any_floor) lines.push_back(floors);
  return aligned(lines);
}

}  // namespace

std::string heading(const StudyColumn& column) {
  std::string text = column.name;
  if (!column.role.empty()) text += " " + column.role;
  if (column.group == "held_out") return text + ", held-out concepts";
  if (!column.group.empty()) return text + ", " + column.group + " concepts";
  return text;
}

StudyTable study_table(const StudyRecord& study) {
  StudyTable table;
  table.columns = columns_of(study);
  for (const StudiedMethod& method : study.methods) {
    std::vector<std::optional<int>> shots;
    for (const StudyRun& run : study.runs) {
      if (run.method == method.label && std::find(shots.begin(), shots.end(), run.shots) == shots.end())
        shots.push_back(run.shots);
    }
    for (const std::optional<int>& k : shots) {
      StudyTableRow row{method.label, k, {}};
      const std::vector<const StudyRun*> runs = runs_of(study, row);
      for (const StudyColumn& column : table.columns) row.cells.push_back(cell_of(runs, table.columns, column));
      table.rows.push_back(std::move(row));
    }
  }
  for (const StudyColumn& column : table.columns) table.floors.push_back(floor_in(study, column));
  return table;
}

std::string shots_text(const std::optional<int>& shots) {
  if (!shots) return "";
  if (*shots == 0) return "all samples";
  return fmt::format("{} {}", *shots, *shots == 1 ? "shot" : "shots");
}

std::string study_text(const StudyTable& table) {
  std::vector<std::string> groups;
  for (const StudyColumn& column : table.columns) {
    if (std::find(groups.begin(), groups.end(), column.group) == groups.end()) groups.push_back(column.group);
  }
  std::string text;
  for (const std::string& group : groups) text += (text.empty() ? "" : "\n") + block_text(table, group);
  return text;
}

std::string study_csv(const StudyTable& table) {
  std::string text = "method,shots,column,group,role,seeds,mean,deviation,half_width\n";
  for (const StudyTableRow& row : table.rows) {
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (!row.cells[c]) continue;
      const StudyColumn& column = table.columns[c];
      const Summary& cell = *row.cells[c];
      text += fmt::format("{},{},{},{},{},{},{:.6f},{:.6f},{}\n", csv_field(row.method),
                          row.shots ? std::to_string(*row.shots) : "", csv_field(column.name), csv_field(column.group),
                          column.role, cell.count, cell.mean, cell.deviation,
                          std::isfinite(cell.half_width) ? fmt::format("{:.6f}", cell.half_width) : "");
    }
  }
  return text;
}

std::string study_latex(const StudyTable& table) {
  std::string text = "\\begin{tabular}{ll" + std::string(table.columns.size(), 'r') + "}\n\\toprule\nMethod & Shots";
  for (const StudyColumn& column : table.columns) text += " & " + latex_escaped(heading(column));
  text += " \\\\\n\\midrule\n";
  for (const StudyTableRow& row : table.rows) {
    text += latex_escaped(row.method) + " & " + (row.shots ? *row.shots == 0 ? "all" : std::to_string(*row.shots) : "");
    for (const std::optional<Summary>& cell : row.cells)
      text += " & " + (cell ? cell_text(cell, " $\\pm$ ") : std::string("--"));
    text += " \\\\\n";
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

void write_study_tables(const StudyRecord& study, const std::filesystem::path& folder) {
  const StudyTable table = study_table(study);
  write_file(folder / "study.csv", study_csv(table));
  write_file(folder / "study.tex", study_latex(table));
}

}  // namespace attune

#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "attune/evaluation/metrics.h"
#include "attune/evaluation/study_record.h"

namespace attune {

/// A column: what was measured, or an average over columns, or a harmonic mean of two.
struct StudyColumn {
  std::string name;   // of the test sets, such as "fluent"; "average" over all
  std::string group;  // "seen" or "held_out"; empty: all pictures
  std::string role;   // "base", "new" or "HM"; "source"; else empty
  bool average = false;
};
/// "fluent, held-out concepts", "caltech base".
std::string heading(const StudyColumn& column);

struct StudyTableRow {
  std::string method;  // label
  std::optional<int> shots;
  std::vector<std::optional<Summary>> cells;  // top-1 accuracy over seeds, by column
};
struct StudyTable {
  std::vector<StudyColumn> columns;
  std::vector<StudyTableRow> rows;
  std::vector<std::optional<double>> floors;  // by column
};

/// The table of a study: a row for each method and number of shots. A column with several test sets holds their mean.
/// The average is formed in each seed, over seeds that have every column, and then summed up; sources do not count. A
/// harmonic mean is that of the mean base and mean new accuracy (methods 7.2); its deviation is that over the seeds.
StudyTable study_table(const StudyRecord& study);

/// "4 shots", "all samples" or nothing.
std::string shots_text(const std::optional<int>& shots);

/// For a terminal: per cent, mean and deviation over seeds; one block for all pictures and one for each group.
std::string study_text(const StudyTable& table);
/// `method,shots,column,group,role,seeds,mean,deviation,half_width`, a line a cell; shares with six digits.
std::string study_csv(const StudyTable& table);
/// A booktabs table in per cent.
std::string study_latex(const StudyTable& table);
/// study.csv and study.tex in the folder.
void write_study_tables(const StudyRecord& study, const std::filesystem::path& folder);

}  // namespace attune

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "attune/evaluation/metrics.h"

namespace attune {

/// Text from data as HTML text or as a quoted attribute's value: the five special characters as references,
/// ill-formed UTF-8 and control characters as U+FFFD.
std::string escape(std::string_view text);

/// Numbers as a reader wants them: a dash where they do not exist.
std::string per_cent(double share, int digits = 1);                                   // "54.2 %"
std::string per_cent_plain(double share, int digits = 1);                             // "54.2"
std::string points(double difference, int digits = 1);                                // "+3.2" or "−3.2"
std::string per_cent_range(const Interval& interval, int digits = 1);                 // "52.4–56.0"
std::string whole(std::int64_t count);                                                // "3,000"
std::string counted(std::size_t count, std::string_view one, std::string_view many);  // "1 seed", "3 seeds"
/// Shares of few samples deserve fewer digits: 0 below 100, else 1.
int sensible_digits(std::int64_t count);

struct Column {
  std::string heading;  // HTML
  bool numeric = false;
  bool only_wide = false;      // left out on narrow screens
  std::string sort_hint = {};  // "number" or "text": can be sorted by this column
  std::string style_class = {};
};
struct Cell {
  std::string html;
  double sort_value = 0;  // for columns that sort as numbers
};
struct TableRow {
  std::vector<Cell> cells;  // the first is the row's heading
  std::string style_class = {};
};
struct Table {
  std::string caption;  // text
  std::vector<Column> columns;
  std::vector<TableRow> rows;
  std::string style_class = {};
};
std::string html_table(const Table& table);

/// `<section>` with a heading; `id` must be a plain word.
std::string html_section(std::string_view id, std::string_view heading, std::string_view body);
/// A paragraph of small explanation; `html` is not escaped.
std::string html_note(std::string_view html);
/// A folded part.
std::string html_details(std::string_view summary, std::string_view body);

/// The whole page: no request leaves it, and no script or style comes from elsewhere.
std::string html_page(std::string_view title, std::string_view body);

}  // namespace attune

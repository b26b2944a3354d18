#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attune/evaluation/metrics.h"

namespace attune {

/// Points joined by a line; points with a NaN are left out. `low` and `high`, where given, are a band around it, such
/// as mean ± standard deviation over seeds.
struct Series {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> low = {}, high = {};
};
struct LineChart {
  std::string title;
  std::string x_name;
  bool shares = false;  // y as per cent
  std::vector<Series> series;
};
/// A chart as HTML with inline SVG: at most four series, told apart by colour and dashes. Tooltips tell the values.
std::string line_chart(const LineChart& chart);

/// One horizontal bar with what belongs beside it.
struct Track {
  double value = 0;  // share
  std::optional<Interval> interval;
  std::optional<double> before;  // hollow circle
  std::optional<double> floor;   // dotted line
};
/// A bar for a table's cell, 0 to `top`. The numbers must also stand in the table: to screen readers it is silent.
std::string track(const Track& content, double top);
/// The scale of such a column, as its heading.
std::string track_axis(double top);
/// A round top for a scale that must reach `largest`, at most 1.
double track_top(double largest);
/// What bar, whisker, circle and dotted line mean; empty texts are left out.
std::string track_key(std::string_view value, std::string_view interval, std::string_view before,
                      std::string_view floor);

/// Counts by label (row) and answer (column), shaded by their share of the row.
struct HeatMap {
  std::vector<std::string> names;
  std::vector<std::vector<std::int64_t>> counts;  // [C][C]
};
/// Inline SVG in a region that scrolls; every cell that is not empty has a tooltip.
std::string heat_map(const HeatMap& map);

/// Accuracy over confidence, with the diagonal and the share of the samples in each bin as tooltips.
std::string reliability_chart(const std::vector<ReliabilityBin>& bins);

}  // namespace attune

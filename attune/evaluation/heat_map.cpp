#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/evaluation/charts.h"
#include "attune/evaluation/html.h"
#include "attune/text/unicode.h"

namespace attune {
namespace {

constexpr std::size_t kMostLabels = 100;   // beyond them only tooltips tell the names
constexpr std::size_t kMostNumbers = 12;   // up to them the counts are printed
constexpr std::size_t kLongestLabel = 24;  // characters
constexpr double kCharacterWidth = 6.1;    // of the 11 px labels, about

/// The text cut to kLongestLabel characters.
std::string shortened(const std::string& name) {
  const std::string text = replace_ill_formed(name);
  std::size_t at = 0;
  for (std::size_t characters = 0; at < text.size(); ++characters) {
    if (characters == kLongestLabel) return text.substr(0, at) + "…";
    next_code_point(text, at);
  }
  return text;
}

struct Layout {
  double cell;
  double left;  // room for the labels of the rows
  double top;   // room for the labels of the columns
};

Layout layout_of(const std::vector<std::string>& names) {
  const double classes = static_cast<double>(names.size());
  const double cell = classes <= kMostNumbers ? 36 : std::clamp(std::floor(700 / classes), 3.0, 26.0);
  if (names.size() > kMostLabels) return {cell, 4, 4};
  std::size_t longest = 4;
  for (const std::string& name : names) longest = std::max(longest, std::min(name.size(), kLongestLabel + 1));
  const double room = static_cast<double>(longest) * kCharacterWidth + 10;
  return {cell, room, room * 0.88};
}

std::string labels(const std::vector<std::string>& names, const Layout& layout) {
  if (names.size() > kMostLabels) return "";
  std::string svg;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double middle = (static_cast<double>(i) + 0.5) * layout.cell;
    const std::string name = escape(shortened(names[i]));
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", layout.left - 6,
                       layout.top + middle + 4, name);
    svg += fmt::format("<text transform=\"translate({:.1f} {:.1f}) rotate(-60)\">{}</text>", layout.left + middle + 2,
                       layout.top - 6, name);
  }
  return svg;
}

std::string cells(const HeatMap& map, std::size_t row, const Layout& layout) {
  std::int64_t total = 0;
  for (const std::int64_t count : map.counts[row]) total += count;
  std::string svg;
  for (std::size_t column = 0; column < map.counts[row].size(); ++column) {
    const std::int64_t count = map.counts[row][column];
    if (count == 0) continue;
    const double share = static_cast<double>(count) / static_cast<double>(total);
    const double x = layout.left + static_cast<double>(column) * layout.cell;
    const double y = layout.top + static_cast<double>(row) * layout.cell;
    const double side = layout.cell - (layout.cell > 6 ? 1 : 0);
    const double opacity = 0.1 + 0.9 * std::sqrt(share);
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"{}\" fill-opacity=\"{:.2f}\">"
        "<title>{} named {}: {} of {} ({})</title></rect>",
        x, y, side, side, row == column ? "right" : "false", opacity, escape(map.names[row]), escape(map.names[column]),
        whole(count), whole(total), per_cent(share, sensible_digits(total)));
    if (map.counts.size() <= kMostNumbers) {
      const bool on_dark = row == column && opacity > 0.6;
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"number{}\">{}</text>", x + side / 2, y + side / 2 + 4,
                         on_dark ? " turned" : "", whole(count));
    }
  }
  return svg;
}

}  // namespace

std::string heat_map(const HeatMap& map) {
  const Layout layout = layout_of(map.names);
  const double side = static_cast<double>(map.names.size()) * layout.cell;
  const double width = layout.left + side + layout.top * 0.6;
  std::string svg = fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"frame\"/>",
                                layout.left, layout.top, side, side);
  for (std::size_t row = 0; row < map.counts.size(); ++row) svg += cells(map, row, layout) + "\n";
  return fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Confusion matrix, scrolls sideways\">"
      "<svg class=\"heat\" role=\"img\" aria-label=\"Confusion matrix of {} classes: rows are the labels, columns the "
      "answers; the most frequent confusions are listed below\" width=\"{:.0f}\" height=\"{:.0f}\" viewBox=\"0 0 "
      "{:.0f} {:.0f}\">{}{}</svg></div>\n",
      map.names.size(), width, layout.top + side + 2, width, layout.top + side + 2, svg, labels(map.names, layout));
}

}  // namespace attune

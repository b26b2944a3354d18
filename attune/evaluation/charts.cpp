#include "attune/evaluation/charts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "attune/evaluation/html.h"

namespace attune {
namespace {

/// A scale with round ticks.
struct Axis {
  double low = 0;
  double high = 1;
  double step = 0.2;
  bool shares = false;
  std::vector<double> marks = {};  // ticks in place of the round ones

  double at(double value) const { return 100 * (value - low) / (high - low); }
  std::string text(double value) const {
    const double shown = shares ? 100 * value : value;
    const double shown_step = shares ? 100 * step : step;
    const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(shown_step) - 1e-9)), 0, 6);
    return fmt::format("{:.{}f}{}", shown + 0.0, digits, shares ? "\u202F%" : "");
  }
  std::vector<double> ticks() const {
    if (!marks.empty()) return marks;
    std::vector<double> values;
    for (int i = 0; low + i * step <= high + step * 1e-6; ++i) values.push_back(low + i * step);
    return values;
  }
};

/// 1, 2 or 5 times a power of ten, so that about `ticks` of them cover `span`.
double round_step(double span, int ticks) {
  const double rough = span / ticks;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

Axis axis_over(double low, double high, int ticks, bool shares) {
  if (!(high > low)) {
    const double room = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= room;
    high += room;
  }
  const double step = round_step(high - low, ticks);
  return {std::floor(low / step + 1e-9) * step, std::ceil(high / step - 1e-9) * step, step, shares};
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

std::string segment(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format("<line x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" class=\"{}\"/>", x1, 100 - y1, x2,
                     100 - y2, style);
}

bool usable(const Series& series, std::size_t i) {
  return std::isfinite(series.x[i]) && i < series.y.size() && std::isfinite(series.y[i]);
}

/// The places of the points across, where they are few enough to be told apart.
std::vector<double> few_places(const LineChart& chart) {
  constexpr std::size_t kMost = 6;
  std::set<double> places;
  for (const Series& series : chart.series) {
    for (std::size_t i = 0; i < series.x.size(); ++i) {
      if (usable(series, i)) places.insert(series.x[i]);
    }
  }
  return places.size() < 2 || places.size() > kMost ? std::vector<double>{} : std::vector(places.begin(), places.end());
}

/// Axes and grid around `content`, which is drawn in a square of 100 x 100 that stretches with the page, y downwards.
std::string plot(const Axis& x, const Axis& y, std::string_view x_name, std::string_view content,
                 std::string_view description, std::string_view style) {
  std::string grid, labels;
  for (const double value : y.ticks()) {
    grid += segment(0, y.at(value), 100, y.at(value), value == y.low ? "base" : "grid");
    labels += fmt::format("<span class=\"y\" style=\"bottom:{:.2f}%\">{}</span>", y.at(value), y.text(value));
  }
  for (const double value : x.ticks()) {
    labels += fmt::format("<span class=\"x\" style=\"left:{:.2f}%\">{}</span>", x.at(value), x.text(value));
  }
  return fmt::format(
      "<div class=\"plot{}\" role=\"img\" aria-label=\"{}\"><svg viewBox=\"0 0 100 100\" "
      "preserveAspectRatio=\"none\">{}{}</svg>{}<span class=\"x-name\">{}</span></div>\n",
      style, escape(description), grid, content, labels, escape(x_name));
}

std::string band(const Series& series, std::size_t index, const Axis& x, const Axis& y) {
  if (series.low.size() != series.x.size() || series.high.size() != series.x.size() || series.x.empty()) return "";
  std::string upper, lower;
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!usable(series, i) || !std::isfinite(series.low[i]) || !std::isfinite(series.high[i])) continue;
    upper += fmt::format("{:.2f},{:.2f} ", x.at(series.x[i]), 100 - y.at(series.high[i]));
    lower = fmt::format("{:.2f},{:.2f} ", x.at(series.x[i]), 100 - y.at(series.low[i])) + lower;
  }
  return fmt::format("<polygon points=\"{}{}\" class=\"band series-{}\"/>", upper, lower, index);
}

std::string curve(const Series& series, std::size_t index, const Axis& x, const Axis& y) {
  constexpr std::size_t kMostDots = 40;
  std::string points, dots;
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!usable(series, i)) continue;
    const double across = x.at(series.x[i]);
    const double down = 100 - y.at(series.y[i]);
    points += fmt::format("{:.2f},{:.2f} ", across, down);
    const auto dot = [&](std::string_view style, std::string_view inside) {
      return fmt::format("<path d=\"M{:.2f} {:.2f}h0\" class=\"{}\">{}</path>", across, down, style, inside);
    };
    if (series.x.size() <= kMostDots) dots += dot(fmt::format("dot series-{}", index), "");
    const std::string value = y.shares ? per_cent(series.y[i]) : fmt::format("{:.4g}", series.y[i]);
    dots += dot("hit", fmt::format("<title>{:g}: {} {}</title>", series.x[i], escape(series.name), value));
  }
  return fmt::format("<polyline points=\"{}\" class=\"line series-{}\"/>{}", points, index, dots);
}

std::string describe(const LineChart& chart) {
  std::string text = chart.title;
  for (const Series& series : chart.series) {
    if (series.y.empty()) continue;
    const auto shown = [&](double v) { return chart.shares ? per_cent(v) : fmt::format("{:.4g}", v); };
    text += fmt::format("; {}: from {} to {}", series.name, shown(series.y.front()), shown(series.y.back()));
  }
  return text;
}

std::string position(double share, double top) {
  return fmt::format("{:.2f}%", 100 * std::clamp(share / top, 0.0, 1.0));
}

}  // namespace

std::string line_chart(const LineChart& chart) {
  Range across, up;
  for (const Series& series : chart.series) {
    for (std::size_t i = 0; i < series.x.size(); ++i) {
      if (!usable(series, i)) continue;
      across.add(series.x[i]);
      up.add(series.y[i]);
    }
    for (const double value : series.low) up.add(value);
    for (const double value : series.high) up.add(value);
  }
  if (up.empty())
    return fmt::format("<figure><figcaption>{}: nothing was recorded</figcaption></figure>\n", escape(chart.title));
  const Axis y = axis_over(up.low, up.high, 4, chart.shares);
  Axis x{across.low, across.high, std::max(1.0, round_step(std::max(across.high - across.low, 1.0), 6))};
  if (!(x.high > x.low)) x = {across.low - 1, across.high + 1, 1};
  x.marks = few_places(chart);

  std::string content, key;
  for (std::size_t i = 0; i < chart.series.size(); ++i) content += band(chart.series[i], i, x, y);
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    content += curve(chart.series[i], i, x, y);
    key += fmt::format(
        "<li><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path d=\"M0 5h26\" class=\"line "
        "series-{}\"/></svg>{}</li>",
        i, escape(chart.series[i].name));
  }
  return fmt::format("<figure><figcaption>{}</figcaption>{}{}</figure>\n", escape(chart.title),
                     chart.series.size() > 1 ? "<ul class=\"key\">" + key + "</ul>" : "",
                     plot(x, y, chart.x_name, content, describe(chart), ""));
}

double track_top(double largest) {
  if (!(largest > 0)) return 1;
  const double step = round_step(largest, 4);
  return std::min(1.0, std::ceil(largest / step - 1e-9) * step);
}

std::string track_axis(double top) {
  const int digits = top < 0.04 ? 1 : 0;
  return fmt::format(
      "<span class=\"axis\" aria-hidden=\"true\"><span style=\"left:0\">0</span><span "
      "style=\"left:50%\">{}</span><span style=\"left:100%\">{}</span></span>",
      per_cent_plain(top / 2, top / 2 * 100 == std::floor(top / 2 * 100) ? 0 : 1), per_cent(top, digits));
}

std::string track(const Track& content, double top) {
  if (!std::isfinite(content.value)) return "<span class=\"track\" aria-hidden=\"true\"></span>";
  std::string marks = fmt::format("<i class=\"value\" style=\"width:{}\"></i>", position(content.value, top));
  if (content.floor) marks += fmt::format("<i class=\"floor\" style=\"left:{}\"></i>", position(*content.floor, top));
  if (content.interval) {
    const Interval& interval = *content.interval;
    marks += fmt::format("<i class=\"interval\" style=\"left:{};width:{}\"></i>", position(interval.low, top),
                         position(std::min(interval.high, top) - interval.low, top));
  }
  if (content.before && std::isfinite(*content.before)) {
    marks += fmt::format("<i class=\"before\" style=\"left:{}\"></i>", position(*content.before, top));
  }
  return "<span class=\"track\" aria-hidden=\"true\">" + marks + "</span>";
}

std::string track_key(std::string_view value, std::string_view interval, std::string_view before,
                      std::string_view floor) {
  const std::pair<std::string_view, std::string_view> marks[] = {
      {"value", value}, {"interval", interval}, {"before", before}, {"floor", floor}};
  std::string items;
  for (const auto& [name, text] : marks) {
    if (text.empty()) continue;
    items += fmt::format("<li><span class=\"track\" aria-hidden=\"true\"><i class=\"{}\"></i></span>{}</li>", name,
                         escape(text));
  }
  return "<ul class=\"key\">" + items + "</ul>\n";
}

std::string reliability_chart(const std::vector<ReliabilityBin>& bins) {
  std::int64_t all = 0;
  for (const ReliabilityBin& bin : bins) all += bin.count;
  std::string content;
  for (const ReliabilityBin& bin : bins) {
    if (bin.count == 0) continue;
    const double left = 100 * bin.low + 0.4;
    const double width = 100 * (bin.high - bin.low) - 0.8;
    const double low = 100 * std::min(bin.accuracy, bin.confidence);
    const double high = 100 * std::max(bin.accuracy, bin.confidence);
    content += fmt::format(
        "<g><title>confidence {} %: {} right, {} claimed, {} samples ({})</title><rect x=\"{:.2f}\" y=\"{:.2f}\" "
        "width=\"{:.2f}\" height=\"{:.2f}\" class=\"bin\"/><rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" "
        "height=\"{:.2f}\" class=\"gap\"/></g>",
        per_cent_range({bin.low, bin.high}, 0), per_cent(bin.accuracy), per_cent(bin.confidence), whole(bin.count),
        per_cent(static_cast<double>(bin.count) / static_cast<double>(all)), left, 100 - 100 * bin.accuracy, width,
        100 * bin.accuracy, left, 100 - high, width, high - low);
  }
  content += segment(0, 0, 100, 100, "ideal");
  const Axis axis{0, 1, 0.2, true};
  return "<figure><figcaption>Accuracy over claimed probability</figcaption>" +
         plot(axis, axis, "claimed probability", content,
              "Reliability diagram: accuracy of the samples in each bin of claimed probability", " square") +
         "</figure>\n";
}

}  // namespace attune

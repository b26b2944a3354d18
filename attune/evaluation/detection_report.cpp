#include "attune/evaluation/detection_report.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "attune/base/files.h"
#include "attune/evaluation/html.h"
#include "attune/images/encode.h"
#include "attune/images/svg.h"

namespace attune {
namespace {

constexpr std::array kBoxColours = {"#d7301f", "#0570b0", "#238b45", "#88419d",
                                    "#cc7000", "#02818a", "#ce1256", "#525252"};

/// Drawings are scaled with the picture, so that they can be read where it is shown smaller.
std::string svg_of(const Image& picture, const std::vector<DrawnBox>& boxes) {
  const double side = std::max(picture.width, picture.height), line = std::max(1.5, side / 320);
  const double letters = std::max(9.0, side / 45);
  std::string svg =
      fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">",
                  picture.width, picture.height);
  for (const DrawnBox& one : boxes) {
    const Box& box = one.box;
    svg += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"none\" stroke=\"{}\" "
        "stroke-width=\"{:.2f}\"{}/>",
        box.x, box.y, box.width, box.height, one.colour, line,
        one.dashed ? fmt::format(" stroke-dasharray=\"{0:.1f} {0:.1f}\"", 3 * line) : "");
    if (one.text.empty()) continue;
    const double top = std::max(0.0, box.y - 1.25 * letters),
                 wide = 0.58 * letters * static_cast<double>(one.text.size());
    svg += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\"/>"
        "<text x=\"{:.2f}\" y=\"{:.2f}\" font-family=\"sans-serif\" font-size=\"{:.2f}\" fill=\"white\">{}</text>",
        box.x, top, wide, 1.25 * letters, one.colour, box.x + 0.15 * letters, top + letters, letters, escape(one.text));
  }
  return svg + "</svg>";
}

/// The pixels of a mask mixed with the colour, its rim more than what is within.
void tint(Image& picture, const Mask& mask, const std::string& colour) {
  const std::vector<std::uint8_t> pixels = pixels_of(mask);
  const auto inside = [&](int x, int y) {
    return x >= 0 && y >= 0 && x < picture.width && y < picture.height &&
           pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) +
                  static_cast<std::size_t>(x)] != 0;
  };
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      if (!inside(x, y)) continue;
      const bool rim = !inside(x - 1, y) || !inside(x + 1, y) || !inside(x, y - 1) || !inside(x, y + 1);
      const int share = rim ? 90 : 45;  // per cent
      std::uint8_t* pixel = &picture.rgb[3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) +
                                              static_cast<std::size_t>(x))];
      for (std::size_t c = 0; c < 3; ++c) {
        const int own = std::stoi(colour.substr(1 + 2 * c, 2), nullptr, 16);
        pixel[c] = static_cast<std::uint8_t>((own * share + pixel[c] * (100 - share)) / 100);
      }
    }
  }
}

std::string shown_share(double value) {
  return value < 0 ? "–" : fmt::format("{:.1f}", 100 * value);
}

Table table_of(const std::string& caption, const std::string& heading, const std::vector<std::string>& columns) {
  Table table;
  table.caption = caption;
  table.columns.push_back({heading});
  for (const std::string& name : columns) table.columns.push_back({escape(name), true});
  return table;
}

}  // namespace

std::string category_colour(std::int64_t category) {
  return kBoxColours[static_cast<std::size_t>(category) % kBoxColours.size()];
}

Image with_boxes(const Image& picture, const std::vector<DrawnBox>& boxes) {
  const AlphaImage drawn = render_svg(svg_of(picture, boxes), picture.width, picture.height, "boxes");
  Image result = picture;
  for (std::size_t i = 0; i < result.rgb.size() / 3; ++i) {
    const int alpha = drawn.rgba[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const int mixed = drawn.rgba[4 * i + c] * alpha + result.rgb[3 * i + c] * (255 - alpha);
      result.rgb[3 * i + c] = static_cast<std::uint8_t>((mixed + 127) / 255);
    }
  }
  return result;
}

Image with_detections(const Image& picture, const std::vector<Detection>& detections,
                      const std::vector<std::string>& names, double threshold) {
  std::vector<DrawnBox> boxes;
  Image tinted = picture;
  // The best are drawn last, over the others.
  for (auto one = detections.rbegin(); one != detections.rend(); ++one) {
    if (one->score < threshold) continue;
    if (one->mask.known()) tint(tinted, one->mask, category_colour(one->category));
    boxes.push_back({one->box,
                     fmt::format("{} {:.0f}", names.at(static_cast<std::size_t>(one->category)), 100 * one->score),
                     category_colour(one->category)});
  }
  return with_boxes(tinted, boxes);
}

std::string detection_page(const Json& results, const std::vector<BoxCategory>& categories,
                           const std::vector<MeasuredDetections>& measured,
                           const std::vector<std::filesystem::path>& pictures) {
  std::vector<std::string> names;
  for (const MeasuredDetections& one : measured) names.push_back(one.name);
  Table whole = table_of("COCO's measures in per cent; a dash where no object is of that size", "Measure", names);
  const std::vector<std::pair<std::string, double DetectionMetrics::*>> rows = {
      {"AP", &DetectionMetrics::ap},
      {"AP50", &DetectionMetrics::ap50},
      {"AP75", &DetectionMetrics::ap75},
      {"AP small", &DetectionMetrics::ap_small},
      {"AP medium", &DetectionMetrics::ap_medium},
      {"AP large", &DetectionMetrics::ap_large},
      {"AR of 1", &DetectionMetrics::ar1},
      {"AR of 10", &DetectionMetrics::ar10},
      {"AR of 100", &DetectionMetrics::ar100}};
  for (const auto& [label, value] : rows) {
    TableRow row{{{label}}};
    for (const MeasuredDetections& one : measured) row.cells.push_back({shown_share(one.metrics.*value)});
    whole.rows.push_back(std::move(row));
  }
  Table by_category = table_of("AP50 by category, in per cent", "Category", names);
  for (std::size_t c = 0; c < categories.size(); ++c) {
    TableRow row{{{escape(categories[c].name)}}};
    for (const MeasuredDetections& one : measured) row.cells.push_back({shown_share(one.metrics.category_ap50.at(c))});
    by_category.rows.push_back(std::move(row));
  }
  std::string shown = html_note("Found objects with their scores; dashed in white, what the annotations say.");
  for (const std::filesystem::path& path : pictures) {
    shown += fmt::format("<p><img style=\"max-width:100%\" alt=\"{}\" src=\"{}\"></p>\n",
                         escape(path.filename().string()), data_uri(read_file(path)));
  }
  const std::string title = fmt::format("{} on {}", json_at<std::string>(results, "method", "results"),
                                        json_at<std::string>(results, "dataset", "results"));
  const std::string details = "<pre>" + escape(results.dump(2)) + "</pre>";
  return html_page(title, fmt::format("<h1>{}</h1>\n", escape(title)) +
                              html_section("measures", "Measures", html_table(whole) + html_table(by_category)) +
                              html_section("pictures", "Pictures", shown) +
                              html_details("Configuration and provenance", details));
}

}  // namespace attune

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/log.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/sections.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/images/preprocess.h"

namespace attune {
namespace {

constexpr std::size_t kMostShown = 24;  // of the right and of the wrong answers each
constexpr int kLongestSide = 112;       // pixels of an embedded picture

Image thumbnail(const Image& image) {
  const int longest = std::max(image.width, image.height);
  if (longest <= kLongestSide) return image;
  const auto scaled = [&](int side) {
    return std::max(1, static_cast<int>(static_cast<std::int64_t>(side) * kLongestSide / longest));
  };
  return resize(image, scaled(image.width), scaled(image.height), Filter::kBicubic);
}

std::string picture(const Example& example, const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / example.path;
  try {
    const Image image = thumbnail(read_image(path));
    return fmt::format("<img src=\"{}\" width=\"{}\" height=\"{}\" alt=\"{}\">", data_uri(encode_png(image)),
                       image.width, image.height, "Image of " + shown_name(example.label));
  } catch (const Error& problem) {
    log_warning(fmt::format("report: an example is shown as missing: {}", problem.what()));
    return "<span class=\"lost\">image not found</span>";
  }
}

std::string item(const Example& example, const std::filesystem::path& folder) {
  const std::string domain =
      example.domain.empty() ? "" : "<span class=\"sub\">" + shown_name(example.domain) + "</span>";
  const std::string truth = example.correct ? "" : fmt::format("<br>is {}", shown_name(example.label));
  return fmt::format("<li title=\"{}\">{}<span class=\"answer {}\">{} {}</span> {}{}{}</li>\n",
                     escape(std::filesystem::path(example.path).filename().string()), picture(example, folder),
                     example.correct ? "yes" : "no", example.correct ? "✓" : "✗", shown_name(example.predicted),
                     per_cent(example.score, 0), truth, domain);
}

std::string sheet(std::string_view heading, const std::vector<Example>& examples, bool correct,
                  const std::filesystem::path& folder) {
  std::string items;
  std::size_t shown = 0;
  std::size_t all = 0;
  for (const Example& example : examples) {
    if (example.correct != correct) continue;
    ++all;
    if (shown == kMostShown) continue;
    ++shown;
    items += item(example, folder);
  }
  if (all == 0) return "";
  const std::string count =
      shown < all ? fmt::format("{} of {} kept examples", shown, all) : fmt::format("{} examples", all);
  return fmt::format("<h3>{} <span class=\"sub\">{}</span></h3>\n<ul class=\"sheet\">\n{}</ul>\n", heading, count,
                     items);
}

}  // namespace

std::string example_section(const Results& results, const std::filesystem::path& folder, const std::string& prefix) {
  if (results.examples.empty()) return "";
  return html_section(prefix + "examples", "Some of the images",
                      html_note("Below each image the answer with its claimed probability. A sample to look at, not a "
                                "measure: right and wrong are not shown in their true proportion.") +
                          sheet("Wrong answers", results.examples, false, folder) +
                          sheet("Right answers", results.examples, true, folder));
}

}  // namespace attune

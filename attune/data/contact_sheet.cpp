#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/check.h"
#include "attune/images/decode.h"
#include "attune/images/preprocess.h"
#include "attune/images/sheet.h"

namespace attune {
namespace {

constexpr std::int64_t kMostSheetPixels = 64'000'000;

Image cell_image(const std::filesystem::path& path, int cell) {
  try {
    const Image image = read_image(path);
    const double scale = static_cast<double>(cell) / std::max(image.width, image.height);
    return resize(image, std::max(1, static_cast<int>(image.width * scale)),
                  std::max(1, static_cast<int>(image.height * scale)), Filter::kBilinear);
  } catch (const Error&) {
    // The sheet shows where a broken picture stands; `check_dataset` says what is wrong with it.
    Image grey{cell, cell, {}};
    grey.rgb.assign(static_cast<std::size_t>(cell) * static_cast<std::size_t>(cell) * 3, 128);
    return grey;
  }
}

}  // namespace

Image contact_sheet(const Dataset& dataset, const std::vector<Sample>& samples, int columns, int cell) {
  if (columns < 1 || cell < 1 || samples.empty()) {
    throw UsageError(fmt::format("contact sheet: expected pictures, columns and a cell size, found {}, {} and {}",
                                 samples.size(), columns, cell));
  }
  const auto rows = static_cast<std::int64_t>((samples.size() + static_cast<std::size_t>(columns) - 1) /
                                              static_cast<std::size_t>(columns));
  if (columns > kMostSheetPixels / cell / cell / rows) {
    throw UsageError(fmt::format("contact sheet: expected at most {} pixels, found {} x {} cells of {} x {}",
                                 kMostSheetPixels, columns, rows, cell, cell));
  }
  Image sheet{columns * cell, static_cast<int>(rows) * cell, {}};
  sheet.rgb.assign(static_cast<std::size_t>(sheet.width) * static_cast<std::size_t>(sheet.height) * 3, 255);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Image image = cell_image(dataset.path_of(samples[i]), cell);
    const int left = static_cast<int>(i % static_cast<std::size_t>(columns)) * cell + (cell - image.width) / 2;
    const int top = static_cast<int>(i / static_cast<std::size_t>(columns)) * cell + (cell - image.height) / 2;
    paste(image, sheet, left, top);
  }
  return sheet;
}

Image contact_sheet(const Dataset& dataset, int columns, int cell) {
  std::set<std::pair<std::int64_t, std::int64_t>> shown;
  std::vector<Sample> first;
  for (const Sample& sample : samples_of(dataset, "all")) {
    if (shown.emplace(sample.label, sample.domain).second) first.push_back(sample);
  }
  std::stable_sort(first.begin(), first.end(), [](const Sample& a, const Sample& b) {
    return std::pair(a.label, a.domain) < std::pair(b.label, b.domain);
  });
  return contact_sheet(dataset, first, columns, cell);
}

}  // namespace attune

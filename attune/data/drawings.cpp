#include "attune/data/drawings.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/random.h"
#include "attune/data/icon_set.h"
#include "attune/data/parallel.h"
#include "attune/images/preprocess.h"
#include "attune/images/svg.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

/// Opacity from which on a pixel counts as visible when a drawing is cut.
constexpr std::uint8_t kVisible = 16;

std::vector<DrawingLists::Concept> chosen_concepts(const DrawingLists& lists, const DrawingChoice& choice,
                                                   const std::string& where) {
  std::set<std::string> missing(choice.names.begin(), choice.names.end());
  std::vector<DrawingLists::Concept> concepts;
  for (const auto& one : lists.concepts) {
    if (choice.concepts == DrawingChoice::Concepts::kSeen && one.held_out) continue;
    if (choice.concepts == DrawingChoice::Concepts::kHeldOut && !one.held_out) continue;
    if (!choice.names.empty() && missing.erase(one.name) == 0) continue;
    concepts.push_back(one);
  }
  if (!missing.empty()) {
    throw UsageError(
        fmt::format("{}: expected the names of concepts that may be taken, found \"{}\"", where, *missing.begin()));
  }
  const auto count = static_cast<std::int64_t>(concepts.size());
  if (choice.categories < 0 || choice.categories > count) {
    throw UsageError(fmt::format("categories: expected 0 to {}, found {}", count, choice.categories));
  }
  if (choice.categories == 0) return concepts;
  std::vector<std::int64_t> order = random_order(count, choice.seed, "categories of drawings");
  order.resize(static_cast<std::size_t>(choice.categories));
  std::sort(order.begin(), order.end());
  std::vector<DrawingLists::Concept> taken;
  taken.reserve(order.size());
  for (const std::int64_t i : order) taken.push_back(concepts[static_cast<std::size_t>(i)]);
  return taken;
}

/// Each once, in the order of the choice.
std::vector<std::string> chosen_sets(const DrawingLists& lists, const DrawingChoice& choice, const std::string& where) {
  std::vector<std::string> sets;
  const auto add = [&](const std::string& name) {
    if (std::find(sets.begin(), sets.end(), name) == sets.end()) sets.push_back(name);
  };
  std::map<std::string, std::vector<std::string>> known;  // sets and domains
  for (const auto& [domain, own] : lists.domains) {
    for (const std::string& set : own) known.try_emplace(set, std::vector{set});
  }
  for (const auto& [domain, own] : lists.domains) known[domain] = own;
  if (choice.sets.empty()) {
    for (const auto& [domain, own] : lists.domains) std::for_each(own.begin(), own.end(), add);
  }
  for (const std::string& name : choice.sets) {
    const auto found = known.find(name);
    if (found == known.end()) {
      throw UsageError(fmt::format("{}: expected the names of icon sets or domains, found \"{}\"", where, name));
    }
    std::for_each(found->second.begin(), found->second.end(), add);
  }
  return sets;
}

/// Splits a rendering into premultiplied colour and opacity, without the empty margin.
void cut(const AlphaImage& image, Drawing& drawing, const std::string& name) {
  int left = image.width, top = image.height, right = 0, bottom = 0;
  Image colour{image.width, image.height, {}}, opacity{image.width, image.height, {}};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const std::uint8_t* pixel = &image.rgba[4 * colour.rgb.size() / 3];
      const unsigned alpha = pixel[3];
      for (int c = 0; c < 3; ++c) {
        colour.rgb.push_back(static_cast<std::uint8_t>((pixel[c] * alpha + 127) / 255));
        opacity.rgb.push_back(pixel[3]);
      }
      if (alpha < kVisible) continue;
      left = std::min(left, x);
      right = std::max(right, x + 1);
      top = std::min(top, y);
      bottom = y + 1;
    }
  }
  if (right == 0) throw Error(fmt::format("{}: expected a drawing, found nothing visible", name));
  drawing.colour = crop(colour, left, top, right - left, bottom - top);
  drawing.opacity = crop(opacity, left, top, right - left, bottom - top);
}

}  // namespace

DrawingChoice::Concepts concepts_named(const std::string& name) {
  if (name == "all") return DrawingChoice::Concepts::kAll;
  if (name == "seen") return DrawingChoice::Concepts::kSeen;
  if (name == "held-out") return DrawingChoice::Concepts::kHeldOut;
  throw UsageError(fmt::format("concepts: expected all, seen or held-out, found \"{}\"", name));
}

Drawings choose_drawings(const DrawingLists& lists, const DrawingChoice& choice, const std::string& where) {
  Drawings result;
  for (const auto& one : chosen_concepts(lists, choice, where)) {
    result.categories.push_back(one.name);
    result.codes.push_back(one.code);
  }
  for (const std::string& set : chosen_sets(lists, choice, where)) {
    const auto& icons = lists.icons.at(set);
    for (std::size_t c = 0; c < result.codes.size(); ++c) {
      const auto icon = icons.find(result.codes[c]);
      if (icon == icons.end()) continue;
      result.drawings.push_back({set, icon->second, static_cast<std::int64_t>(c), {}, {}});
    }
  }
  if (result.drawings.empty()) throw UsageError(fmt::format("{}: expected drawings to take, found none", where));
  return result;
}

Drawings render_drawings(const fs::path& lists_file, const fs::path& icons, const DrawingChoice& choice, int size,
                         int threads, Progress* progress) {
  const std::string where = lists_file.string();
  Drawings result = choose_drawings(parse_drawing_lists(read_file(lists_file), where), choice, where);
  std::map<std::string, IconSet> sets;
  for (const Drawing& drawing : result.drawings) {
    if (!sets.contains(drawing.set)) sets.emplace(drawing.set, open_icon_set(icons, drawing.set));
  }
  const auto render = [&](std::int64_t i) {
    Drawing& drawing = result.drawings[static_cast<std::size_t>(i)];
    const std::string name = fmt::format("{}:{}", drawing.set, drawing.icon);
    cut(render_svg(sets.at(drawing.set).svg(drawing.icon, size), size, size, name), drawing, name);
  };
  parallel_for(static_cast<std::int64_t>(result.drawings.size()), threads, render, progress);
  return result;
}

}  // namespace attune

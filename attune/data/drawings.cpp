#include "attune/data/drawings.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
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

struct Concept {
  std::string code, name;
};

std::vector<Concept> chosen_concepts(const Json& lists, const DrawingChoice& choice, const std::string& where) {
  std::set<std::string> missing(choice.names.begin(), choice.names.end());
  std::vector<Concept> concepts;
  for (const Json& item : json_at<Json>(lists, "concepts", where)) {
    const Concept one{json_at<std::string>(item, "code", where), json_at<std::string>(item, "name", where)};
    const bool held_out = json_at<bool>(item, "held_out", where);
    if (choice.concepts == DrawingChoice::Concepts::kSeen && held_out) continue;
    if (choice.concepts == DrawingChoice::Concepts::kHeldOut && !held_out) continue;
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
  std::vector<Concept> taken;
  for (const std::int64_t i : order) taken.push_back(concepts[static_cast<std::size_t>(i)]);
  return taken;
}

std::vector<std::string> chosen_sets(const Json& lists, const DrawingChoice& choice, const std::string& where) {
  std::vector<std::string> all, sets;
  std::map<std::string, std::vector<std::string>> domains;
  const Json list = json_at<Json>(lists, "domains", where);
  for (const auto& [domain, own] : list.items()) {
    domains[domain] = json_at<std::vector<std::string>>(list, domain, where + ": domains");
    all.insert(all.end(), domains[domain].begin(), domains[domain].end());
  }
  if (choice.sets.empty()) return all;
  for (const std::string& name : choice.sets) {
    const auto domain = domains.find(name);
    if (domain != domains.end()) {
      sets.insert(sets.end(), domain->second.begin(), domain->second.end());
    } else if (std::find(all.begin(), all.end(), name) != all.end()) {
      sets.push_back(name);
    } else {
      throw UsageError(fmt::format("{}: expected the names of icon sets or domains, found \"{}\"", where, name));
    }
  }
  std::vector<std::string> once;
  for (const std::string& name : sets) {
    if (std::find(once.begin(), once.end(), name) == once.end()) once.push_back(name);
  }
  return once;
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

Drawings render_drawings(const fs::path& lists_file, const fs::path& icons, const DrawingChoice& choice, int size,
                         int threads, Progress* progress) {
  const std::string where = lists_file.string();
  const Json lists = read_json(lists_file);
  const Json names = json_at<Json>(lists, "icons", where);
  Drawings result;
  const std::vector<Concept> concepts = chosen_concepts(lists, choice, where);
  for (const Concept& one : concepts) {
    result.categories.push_back(one.name);
    result.codes.push_back(one.code);
  }
  std::map<std::string, std::unique_ptr<IconSet>> sets;
  for (const std::string& set : chosen_sets(lists, choice, where)) {
    sets.emplace(set, std::make_unique<IconSet>(open_icon_set(icons, set)));
    const Json icons_of = json_at<Json>(names, set, where + ": icons");
    for (std::size_t c = 0; c < concepts.size(); ++c) {
      if (!icons_of.contains(concepts[c].code)) continue;
      const std::string icon = json_at<std::string>(icons_of, concepts[c].code, where + ": icons");
      result.drawings.push_back({set, icon, static_cast<std::int64_t>(c), {}, {}});
    }
  }
  if (result.drawings.empty()) throw UsageError(fmt::format("{}: expected drawings to take, found none", where));
  const auto render = [&](std::int64_t i) {
    Drawing& drawing = result.drawings[static_cast<std::size_t>(i)];
    const std::string name = fmt::format("{}:{}", drawing.set, drawing.icon);
    cut(render_svg(sets.at(drawing.set)->svg(drawing.icon, size), size, size, name), drawing, name);
  };
  parallel_for(static_cast<std::int64_t>(result.drawings.size()), threads, render, progress);
  return result;
}

}  // namespace attune

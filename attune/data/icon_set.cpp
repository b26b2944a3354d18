#include "attune/data/icon_set.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"

namespace attune {
namespace {

constexpr int kLongestAliasChain = 8;

}  // namespace

IconSet::IconSet(std::string_view text, std::string where) : where_(std::move(where)), json_(parse_json(text, where_)) {
  if (!json_at<Json>(json_, "icons", where_).is_object())
    throw Error(fmt::format("{}: expected \"icons\" to be an object", where_));
}

std::string IconSet::svg(const std::string& name, int size) const {
  const Json& icons = json_["icons"];
  const auto aliases = json_.find("aliases");
  std::string found = name;
  for (int step = 0; !icons.contains(found); ++step) {
    const std::string here = fmt::format("{}: icon \"{}\"", where_, name);
    if (aliases == json_.end() || !aliases->is_object() || !aliases->contains(found)) {
      throw Error(fmt::format("{}: expected it in the set, found neither an icon nor an alias \"{}\"", here, found));
    }
    const Json& alias = (*aliases)[found];
    if (step == kLongestAliasChain)
      throw Error(fmt::format("{}: expected an alias of an icon, found aliases without end", here));
    if (alias.contains("rotate") || alias.contains("hFlip") || alias.contains("vFlip")) {
      throw Error(fmt::format("{}: expected a plain alias, found one that turns its icon", here));
    }
    found = json_at<std::string>(alias, "parent", here);
  }
  const std::string here = fmt::format("{}: icon \"{}\"", where_, found);
  const Json& icon = icons[found];
  const auto number = [&](const char* key, double otherwise) {
    return json_or<double>(icon, key, json_or<double>(json_, key, otherwise, where_), here);
  };
  return fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{0}" height="{0}" )"
      R"(viewBox="{1} {2} {3} {4}" color="#000000">{5}</svg>)",
      size, number("left", 0), number("top", 0), number("width", 16), number("height", 16),
      json_at<std::string>(icon, "body", here));
}

IconSet open_icon_set(const std::filesystem::path& icons, const std::string& set) {
  for (const char* above : {"", "@iconify-json", "node_modules/@iconify-json"}) {
    const std::filesystem::path file = icons / above / set / "icons.json";
    if (std::filesystem::exists(file)) return IconSet(read_file(file), file.string());
  }
  throw Error(fmt::format("icon set: expected {}/icons.json in {}, found none", set, icons.string()));
}

}  // namespace attune

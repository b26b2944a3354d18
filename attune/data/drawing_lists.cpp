#include "attune/data/drawing_lists.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"

namespace attune {
namespace {

const Json& object_at(const Json& lists, const char* key, const std::string& where) {
  const auto found = lists.find(key);
  if (found == lists.end() || !found->is_object()) {
    throw Error(fmt::format("{}: expected \"{}\" to be an object", where, key));
  }
  return *found;
}

std::vector<DrawingLists::Concept> concepts_of(const Json& lists, const std::string& where) {
  const auto found = lists.find("concepts");
  if (found == lists.end() || !found->is_array()) {
    throw Error(fmt::format("{}: expected \"concepts\" to be a list", where));
  }
  std::vector<DrawingLists::Concept> concepts;
  for (const Json& item : *found) {
    const std::string here = fmt::format("{}: concepts[{}]", where, concepts.size());
    concepts.push_back({json_at<std::string>(item, "code", here), json_at<std::string>(item, "name", here),
                        json_or<std::string>(item, "subgroup", "", here), json_at<bool>(item, "held_out", here)});
  }
  return concepts;
}

}  // namespace

DrawingLists parse_drawing_lists(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where);
  if (!json.is_object()) throw Error(where + ": expected an object");
  DrawingLists lists;
  lists.concepts = concepts_of(json, where);
  const Json& domains = object_at(json, "domains", where);
  const Json& icons = object_at(json, "icons", where);
  for (const auto& [set, list] : icons.items()) {
    auto& own = lists.icons[set];
    const Json& names = object_at(icons, set.c_str(), where + ": icons");
    for (const auto& [code, icon] : names.items()) own[code] = json_at<std::string>(names, code, where + ": icons");
  }
  for (const auto& [domain, own] : domains.items()) {
    auto sets = json_at<std::vector<std::string>>(domains, domain, where + ": domains");
    for (const std::string& set : sets) {
      if (!lists.icons.contains(set)) {
        throw Error(fmt::format("{}: expected \"icons\" to have a list for \"{}\", found none", where, set));
      }
    }
    lists.domains.emplace_back(domain, std::move(sets));
  }
  return lists;
}

}  // namespace attune

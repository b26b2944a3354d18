#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attune {

/// Which icon of which set draws which concept: models/pocket/emoji_dg.json, and the drawings.json of models that were
/// trained on scenes.
struct DrawingLists {
  struct Concept {
    std::string code;  // Unicode's code points
    std::string name;
    std::string subgroup;  // empty: the lists have none
    bool held_out = false;
  };
  std::vector<Concept> concepts;
  std::vector<std::pair<std::string, std::vector<std::string>>> domains;  // with their icon sets, in the file's order
  std::map<std::string, std::map<std::string, std::string>> icons;        // of every set, by the concept's code
};

/// Throws Error that names `where` and what is missing, of the wrong type, or an icon set without a list.
DrawingLists parse_drawing_lists(std::string_view text, const std::string& where);

}  // namespace attune

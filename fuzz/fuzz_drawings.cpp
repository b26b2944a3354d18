#include <cstddef>
#include <cstdint>
#include <string_view>

#include "attune/base/error.h"
#include "attune/data/drawings.h"

// Lists of drawings. What is chosen of accepted lists, by every set and domain that they name, fits them.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace attune;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto choose = [](const DrawingLists& lists, const DrawingChoice& choice) {
    try {
      const Drawings chosen = choose_drawings(lists, choice, "input");
      if (chosen.codes.size() != chosen.categories.size()) __builtin_trap();
      for (const Drawing& drawing : chosen.drawings) {
        if (lists.icons.at(drawing.set).at(chosen.codes.at(static_cast<std::size_t>(drawing.category))) !=
            drawing.icon) {
          __builtin_trap();
        }
      }
    } catch (const Error&) {
    }
  };
  try {
    const DrawingLists lists = parse_drawing_lists(text, "input");
    DrawingChoice choice;
    choose(lists, choice);
    choice.categories = 1;
    choice.concepts = DrawingChoice::Concepts::kHeldOut;
    for (const auto& [domain, sets] : lists.domains) {
      choice.sets = {domain};
      choice.sets.insert(choice.sets.end(), sets.begin(), sets.end());
      choose(lists, choice);
    }
  } catch (const Error&) {
    // Bad input ends in an Error, and in nothing else.
  }
  return 0;
}

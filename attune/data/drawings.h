#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/log.h"
#include "attune/data/drawing_lists.h"
#include "attune/images/image.h"

namespace attune {

/// Which drawings of a benchmark's lists (models/pocket/emoji_dg.json) are taken.
struct DrawingChoice {
  enum class Concepts { kAll, kSeen, kHeldOut };

  std::vector<std::string> sets;       // icon sets, or domains, which stand for all of their sets; none: all
  Concepts concepts = Concepts::kAll;  // of those that pre-training may have seen, or may not
  std::vector<std::string> names;      // of these concepts only; none: all
  std::int64_t categories = 0;         // so many concepts, chosen by the seed; 0: all
  std::uint64_t seed = 0;
};

/// The rule that "all", "seen" or "held-out" names. Throws UsageError for another word.
DrawingChoice::Concepts concepts_named(const std::string& name);

/// A drawing with its opacity, cut to what is visible.
struct Drawing {
  std::string set, icon;
  std::int64_t category = 0;
  Image colour;   // premultiplied by the opacity
  Image opacity;  // three equal channels
};

struct Drawings {
  std::vector<std::string> categories;  // names of the chosen concepts, in the order of the lists
  std::vector<std::string> codes;       // Unicode's code points of these
  std::vector<Drawing> drawings;        // by set, then category; a set may lack a concept
};

/// The chosen concepts and drawings, without pictures. Throws UsageError that names `where` and a set or concept that
/// the lists do not know.
Drawings choose_drawings(const DrawingLists& lists, const DrawingChoice& choice, const std::string& where);

/// Renders the chosen drawings at `size` pixels from the icon sets below `icons`. Throws as choose_drawings, and Error
/// for broken lists or icons.
Drawings render_drawings(const std::filesystem::path& lists, const std::filesystem::path& icons,
                         const DrawingChoice& choice, int size, int threads = 2, Progress* progress = nullptr);

}  // namespace attune

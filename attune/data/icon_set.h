#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "attune/base/json.h"

namespace attune {

/// A set of drawings as the @iconify-json packages hold it (icons.json).
class IconSet {
 public:
  /// Throws Error that names `where` where the text is no icon set.
  IconSet(std::string_view text, std::string where);

  /// The icon as an SVG document of `size` x `size` pixels: its body in its own view box, aliases followed, black for
  /// `currentColor`. Throws Error that names the icon where it is missing, an alias without end, or turned by its
  /// alias.
  std::string svg(const std::string& name, int size) const;

 private:
  std::string where_;
  Json json_;
};

/// <set>/icons.json below a folder of the @iconify-json packages: directly, under @iconify-json/ or under
/// node_modules/@iconify-json/. Throws Error where there is none.
IconSet open_icon_set(const std::filesystem::path& icons, const std::string& set);

}  // namespace attune

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "attune/images/image.h"

namespace attune {

/// A part of a drawing in its own user units.
struct ViewBox {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

/// Renders an SVG text to `width` x `height` pixels: the document's own view box, or `view`, fitted and centred with
/// its proportions kept; what a `view` shows beyond the document's edge is drawn too. Nothing outside the text is ever
/// loaded: a text that refers to a file, an address or an XML entity is refused. `name` is named in errors. Throws
/// Error for broken or oversized input.
AlphaImage render_svg(std::string_view svg, int width, int height, std::string_view name,
                      const std::optional<ViewBox>& view = std::nullopt);

/// The picture over a background of one colour.
Image composite(const AlphaImage& image, std::array<std::uint8_t, 3> background);

}  // namespace attune

#include "attune/images/svg.h"

#include <algorithm>
#include <cairo.h>
#include <cctype>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <librsvg/rsvg.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::size_t kMostBytes = std::size_t{8} << 20;
constexpr int kLongestSide = 8192;

[[noreturn]] void fail(std::string_view name, std::string_view what) {
  throw Error(fmt::format("{}: {}", name, what));
}

template <auto release>
struct Release {
  template <class T>
  void operator()(T* object) const {
    release(object);
  }
};
using Handle = std::unique_ptr<RsvgHandle, Release<g_object_unref>>;
using Surface = std::unique_ptr<cairo_surface_t, Release<cairo_surface_destroy>>;
using Context = std::unique_ptr<cairo_t, Release<cairo_destroy>>;
using Problem = std::unique_ptr<GError, Release<g_error_free>>;

std::string_view trim_quotes(std::string_view text) {
  while (!text.empty() &&
         (std::isspace(static_cast<unsigned char>(text.front())) != 0 || text.front() == '"' || text.front() == '\'')) {
    text.remove_prefix(1);
  }
  return text;
}

// Where `mark` (href or url) is followed by a value, the value must point into the document itself.
void refuse_outside_values(const std::string& lower, std::string_view mark, char opener, std::string_view name) {
  for (std::size_t at = lower.find(mark); at != std::string::npos; at = lower.find(mark, at + 1)) {
    std::string_view rest = trim_quotes(std::string_view(lower).substr(at + mark.size()));
    if (rest.empty() || rest.front() != opener) continue;
    rest = trim_quotes(rest.substr(1));
    if (rest.empty() || rest.front() == '#') continue;
    const std::size_t end = std::min(rest.find_first_of("\"') >"), std::size_t{60});
    fail(name, fmt::format("SVG refers to \"{}\" outside of itself", rest.substr(0, end)));
  }
}

// The parser would follow other encodings too (UTF-16, UTF-7 by declaration), which hide references from a look at the
// bytes.
void refuse_other_encodings(const std::string& lower, std::string_view name) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  std::string_view text = lower;
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '<' || text.find('\0') != std::string_view::npos) {
    fail(name, "broken SVG: expected UTF-8 text that begins with <");
  }
  const std::string_view declaration = text.starts_with("<?xml") ? text.substr(0, text.find("?>")) : "";
  const std::size_t at = declaration.find("encoding");
  if (at == std::string_view::npos) return;
  const std::size_t value = declaration.find_first_of("\"'", at);
  if (value == std::string_view::npos || !declaration.substr(value + 1).starts_with("utf-8")) {
    fail(name, "expected an SVG in UTF-8, found another encoding in its declaration");
  }
}

void refuse_outside_references(std::string_view svg, std::string_view name) {
  std::string lower(svg);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  refuse_other_encodings(lower, name);
  for (const std::string_view mark : {"<!entity", "<?xml-stylesheet", "@import", "xi:include", "<image", "<feimage"}) {
    if (lower.find(mark) != std::string::npos) fail(name, fmt::format("SVG with {} is refused", mark));
  }
  // A link on <a> loads nothing, so only elements that draw what they refer to matter; both are checked alike.
  refuse_outside_values(lower, "href", '=', name);
  refuse_outside_values(lower, "url", '(', name);
}

ViewBox own_view(RsvgHandle* handle, const ViewBox& otherwise) {
  gboolean has_width = FALSE, has_height = FALSE, has_box = FALSE;
  RsvgLength width{}, height{};
  RsvgRectangle box{};
  rsvg_handle_get_intrinsic_dimensions(handle, &has_width, &width, &has_height, &height, &has_box, &box);
  if (has_box != FALSE && box.width > 0 && box.height > 0) return {box.x, box.y, box.width, box.height};
  double pixels_wide = 0, pixels_high = 0;
  if (rsvg_handle_get_intrinsic_size_in_pixels(handle, &pixels_wide, &pixels_high) != FALSE && pixels_wide > 0 &&
      pixels_high > 0) {
    return {0, 0, pixels_wide, pixels_high};
  }
  return otherwise;
}

// Where the whole document must be drawn so that `view` fills the picture, centred, with its proportions kept.
RsvgRectangle viewport_for(RsvgHandle* handle, const ViewBox& view, int width, int height) {
  const ViewBox whole = own_view(handle, view);
  const double scale = std::min(width / view.width, height / view.height);
  return {(whole.x - view.x) * scale + (width - view.width * scale) / 2,
          (whole.y - view.y) * scale + (height - view.height * scale) / 2, whole.width * scale, whole.height * scale};
}

// Cairo's ARGB32 words, premultiplied, to RGBA bytes: colour * 255 / alpha, rounded.
AlphaImage straight_alpha(cairo_surface_t* surface, int width, int height) {
  AlphaImage image{width, height, {}};
  image.rgba.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 4);
  const unsigned char* rows = cairo_image_surface_get_data(surface);
  const auto stride = static_cast<std::size_t>(cairo_image_surface_get_stride(surface));
  std::uint8_t* out = image.rgba.data();
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x, out += 4) {
      std::uint32_t pixel = 0;
      std::memcpy(&pixel, rows + static_cast<std::size_t>(y) * stride + static_cast<std::size_t>(x) * 4, 4);
      const std::uint32_t alpha = pixel >> 24;
      if (alpha == 0) continue;
      for (int c = 0; c < 3; ++c) {
        const std::uint32_t colour = pixel >> (16 - 8 * c) & 0xFF;
        out[c] = static_cast<std::uint8_t>(std::min((colour * 255 + alpha / 2) / alpha, std::uint32_t{255}));
      }
      out[3] = static_cast<std::uint8_t>(alpha);
    }
  }
  return image;
}

Handle parse(std::string_view svg, std::string_view name) {
  GError* error = nullptr;
  Handle handle(rsvg_handle_new_from_data(reinterpret_cast<const guint8*>(svg.data()), svg.size(), &error));
  const Problem problem(error);
  if (!handle) fail(name, fmt::format("broken SVG: {}", problem ? problem->message : "it cannot be read"));
  return handle;
}

}  // namespace

AlphaImage render_svg(std::string_view svg, int width, int height, std::string_view name,
                      const std::optional<ViewBox>& view) {
  if (width < 1 || height < 1 || width > kLongestSide || height > kLongestSide) {
    fail(name,
         fmt::format("expected an SVG rendering of 1 to {} pixels a side, found {} x {}", kLongestSide, width, height));
  }
  if (svg.empty() || svg.size() > kMostBytes) {
    fail(name, fmt::format("expected an SVG text of 1 to {} bytes, found {}", kMostBytes, svg.size()));
  }
  if (view && !(view->width > 0 && view->height > 0 && std::isfinite(view->width + view->height) &&
                std::isfinite(view->x + view->y))) {
    fail(name, fmt::format("expected a view box with an area, found {} x {}", view->width, view->height));
  }
  refuse_outside_references(svg, name);
  const Handle handle = parse(svg, name);
  rsvg_handle_set_dpi(handle.get(), 96);
  RsvgRectangle viewport{0, 0, static_cast<double>(width), static_cast<double>(height)};
  if (view) {
    viewport = viewport_for(handle.get(), *view, width, height);
    constexpr std::string_view kUnclipped = ":root { overflow: visible }";
    rsvg_handle_set_stylesheet(handle.get(), reinterpret_cast<const guint8*>(kUnclipped.data()), kUnclipped.size(),
                               nullptr);
  }

  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_ARGB32, width, height));
  const Context context(cairo_create(surface.get()));
  GError* error = nullptr;
  const bool drawn = rsvg_handle_render_document(handle.get(), context.get(), &viewport, &error) != FALSE;
  const Problem problem(error);
  if (!drawn) fail(name, fmt::format("SVG cannot be drawn: {}", problem ? problem->message : "unknown reason"));
  if (const cairo_status_t status = cairo_status(context.get()); status != CAIRO_STATUS_SUCCESS) {
    fail(name, fmt::format("SVG cannot be drawn: {}", cairo_status_to_string(status)));
  }
  cairo_surface_flush(surface.get());
  return straight_alpha(surface.get(), width, height);
}

Image composite(const AlphaImage& image, std::array<std::uint8_t, 3> background) {
  Image out{image.width, image.height, {}};
  const std::size_t pixels = image.rgba.size() / 4;
  out.rgb.resize(pixels * 3);
  for (std::size_t i = 0; i < pixels; ++i) {
    const std::uint32_t alpha = image.rgba[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const std::uint32_t mixed = image.rgba[4 * i + c] * alpha + background[c] * (255 - alpha);
      out.rgb[3 * i + c] = static_cast<std::uint8_t>((mixed + 127) / 255);
    }
  }
  return out;
}

}  // namespace attune

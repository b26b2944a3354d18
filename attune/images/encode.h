#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "attune/images/image.h"

namespace attune {

/// The bytes of a PNG file. Equal pictures give equal bytes.
std::string encode_png(const Image& image);
std::string encode_png(const AlphaImage& image);

/// The PNG with texts (UTF-8) under keywords (1 to 79 printable ASCII characters) before its pixels, in iTXt chunks, as
/// viewers show them. Throws Error on another keyword, a text that is not UTF-8 or has a zero, or what is no PNG.
std::string with_png_texts(std::string_view png, const std::vector<std::pair<std::string, std::string>>& texts);

/// "data:image/png;base64,..." for a page that must hold its pictures itself.
std::string data_uri(std::string_view png);

}  // namespace attune

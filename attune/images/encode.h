#pragma once

#include <string>
#include <string_view>

#include "attune/images/image.h"

namespace attune {

/// The bytes of a PNG file. Equal pictures give equal bytes.
std::string encode_png(const Image& image);
std::string encode_png(const AlphaImage& image);

/// "data:image/png;base64,..." for a page that must hold its pictures itself.
std::string data_uri(std::string_view png);

}  // namespace attune

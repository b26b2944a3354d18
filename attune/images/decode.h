#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "attune/images/image.h"

namespace attune {

/// What a picture may cost before it is refused, so that a small file cannot ask for all memory.
struct DecodeLimits {
  std::uint64_t pixels = 178'956'970;            // width * height; where Pillow stops too
  std::uint64_t bytes = std::uint64_t{1} << 30;  // of the file
};

/// Decodes JPEG, PNG or WebP, recognised by content, to the pixels of Pillow's `Image.open(f).convert("RGB")`: alpha is
/// dropped, 16-bit grey is clipped at 255 and 16-bit colour keeps its upper byte, CMYK is taken as inverted, colour
/// profiles and EXIF rotation are ignored, of an animation the first frame is taken. `name` (usually the path) is named
/// in errors. Throws Error for another format, a broken or truncated file, and a picture beyond the limits.
Image decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits = {});
Image read_image(const std::filesystem::path& path, const DecodeLimits& limits = {});

}  // namespace attune

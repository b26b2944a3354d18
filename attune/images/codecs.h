#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "attune/images/decode.h"

namespace attune {

/// One decoder a format; each throws Error that begins with `name`.
Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits);
Image decode_png(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits);
Image decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits);

[[noreturn]] void fail_decoding(std::string_view name, std::string_view what);
/// Pixels for a picture of this size. Throws Error where it is empty or has more pixels than allowed.
Image allocate_image(std::uint64_t width, std::uint64_t height, std::string_view name, const DecodeLimits& limits);

}  // namespace attune

#include "attune/images/decode.h"

#include <cstring>
#include <string>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/codecs.h"

namespace attune {
namespace {

bool has(std::span<const std::byte> bytes, std::size_t at, std::string_view text) {
  return bytes.size() >= at + text.size() && std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

}  // namespace

void fail_decoding(std::string_view name, std::string_view what) {
  throw Error(fmt::format("{}: {}", name, what));
}

Image allocate_image(std::uint64_t width, std::uint64_t height, std::string_view name, const DecodeLimits& limits) {
  if (width == 0 || height == 0 || width > INT32_MAX || height > INT32_MAX) {
    fail_decoding(name, fmt::format("expected a picture of at least one pixel, found {} x {}", width, height));
  }
  if (width > limits.pixels / height) {
    fail_decoding(name, fmt::format("expected at most {} pixels, found {} x {} pixels", limits.pixels, width, height));
  }
  Image image;
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  image.rgb.resize(width * height * 3);
  return image;
}

Image decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits) {
  if (bytes.size() > limits.bytes) {
    fail_decoding(name, fmt::format("expected at most {} bytes, found {}", limits.bytes, bytes.size()));
  }
  if (has(bytes, 0, "\xFF\xD8\xFF")) return decode_jpeg(bytes, name, limits);
  if (has(bytes, 0, "\x89PNG\r\n\x1A\n")) return decode_png(bytes, name, limits);
  if (has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP")) return decode_webp(bytes, name, limits);
  fail_decoding(name, bytes.empty() ? "expected a JPEG, PNG or WebP picture, found an empty file"
                                    : "expected a JPEG, PNG or WebP picture, found something else");
}

Image read_image(const std::filesystem::path& path, const DecodeLimits& limits) {
  const std::string content = read_file(path, limits.bytes);
  return decode_image(std::as_bytes(std::span(content)), path.string(), limits);
}

}  // namespace attune

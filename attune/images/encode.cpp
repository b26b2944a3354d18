#include "attune/images/encode.h"

#include <algorithm>
#include <cstdint>
#include <png.h>
#include <zlib.h>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"

namespace attune {
namespace {

std::string encode(const std::uint8_t* pixels, std::size_t size, int width, int height, bool alpha) {
  const std::size_t channels = alpha ? 4 : 3;
  if (width < 1 || height < 1 ||
      size != static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * channels) {
    throw Error(fmt::format("encode_png: expected width * height * {} bytes, found {} x {} and {} bytes", channels,
                            width, height, size));
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  png_alloc_size_t written = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string out(written, '\0');
  if (png_image_write_to_memory(&image, out.data(), &written, 0, pixels, 0, nullptr) == 0) {
    throw Error(fmt::format("encode_png: a picture of {} x {} cannot be written: {}", width, height, image.message));
  }
  out.resize(written);
  return out;
}

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift & 0xFF));
  return bytes;
}

std::string text_chunk(const std::string& keyword, const std::string& text) {
  const bool printable = std::all_of(keyword.begin(), keyword.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (keyword.empty() || keyword.size() > 79 || !printable || keyword.front() == ' ' || keyword.back() == ' ') {
    throw Error(fmt::format("png text: expected a keyword of 1 to 79 printable characters, found '{}'", keyword));
  }
  if (!is_utf8(text) || text.find('\0') != std::string::npos || text.size() > PNG_UINT_31_MAX / 2) {
    throw Error(fmt::format("png text: expected UTF-8 without zeros under '{}'", keyword));
  }
  // Keyword; not compressed, method 0; no language, no translated keyword; the text.
  const std::string body = "iTXt" + keyword + std::string(5, '\0') + text;
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size());
  return big_endian(static_cast<std::uint32_t>(body.size() - 4)) + body + big_endian(static_cast<std::uint32_t>(crc));
}

}  // namespace

std::string with_png_texts(std::string_view png, const std::vector<std::pair<std::string, std::string>>& texts) {
  // The signature, then the header's length, name, 13 bytes and checksum.
  constexpr std::size_t kHeaderEnd = 8 + 4 + 4 + 13 + 4;
  if (png.size() < kHeaderEnd || png.substr(0, 8) != "\x89PNG\r\n\x1a\n" || png.substr(12, 4) != "IHDR") {
    throw Error("png text: expected a PNG");
  }
  std::string out(png.substr(0, kHeaderEnd));
  for (const auto& [keyword, text] : texts) out += text_chunk(keyword, text);
  return out.append(png.substr(kHeaderEnd));
}

std::string encode_png(const Image& image) {
  return encode(image.rgb.data(), image.rgb.size(), image.width, image.height, false);
}

std::string encode_png(const AlphaImage& image) {
  return encode(image.rgba.data(), image.rgba.size(), image.width, image.height, true);
}

std::string data_uri(std::string_view png) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = "data:image/png;base64,";
  out.reserve(out.size() + (png.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < png.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 3; ++j) {
      group = group << 8 | (j < png.size() ? static_cast<std::uint8_t>(png[j]) : 0U);
    }
    for (std::size_t digit = 0; digit < 4; ++digit) {
      out.push_back(i + digit > png.size() ? '=' : kDigits[group >> (18 - 6 * digit) & 63]);
    }
  }
  return out;
}

}  // namespace attune

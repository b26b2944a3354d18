#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <png.h>
#include <string>
#include <vector>

#include "attune/images/codecs.h"

namespace attune {
namespace {

// Deflate makes at most 1032 bytes of one.
constexpr std::uint64_t kMostInflation = 1032;

// As for JPEG: libpng's longjmp only ever crosses the static functions below.
struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::byte> rest;
  std::jmp_buf escape{};
  char message[128] = "";

  PngReader() = default;
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto& reader = *static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader.message, sizeof(reader.message), "%s", text);
  std::longjmp(reader.escape, 1);
}

void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep out, std::size_t count) {
  auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
  if (count > reader.rest.size()) png_error(png, "the data ends early");
  std::memcpy(out, reader.rest.data(), count);
  reader.rest = reader.rest.subspan(count);
}

bool read_header(PngReader& reader) {
  if (setjmp(reader.escape) != 0) return false;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png == nullptr) return false;
  reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return false;
  png_set_read_fn(reader.png, &reader, read_bytes);
  // Size is checked by the caller. No ancillary chunk changes the pixels (Pillow drops transparency on the way to RGB
  // and applies no gamma), so none is stored.
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_keep_unknown_chunks(reader.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_benign_errors(reader.png, 1);
  png_read_info(reader.png, reader.info);
  return true;
}

/// Asks for `channels` samples of `depth` bits a pixel.
struct Layout {
  int channels = 3;
  int depth = 8;
};

Layout layout_of(const PngReader& reader) {
  const int colour = png_get_color_type(reader.png, reader.info);
  if (colour == PNG_COLOR_TYPE_PALETTE) return {1, 8};
  if (colour == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(reader.png, reader.info) == 16) return {1, 16};
  return {3, 8};
}

bool read_pixels(PngReader& reader, const Layout& layout, png_bytep* rows, std::size_t row_bytes) {
  if (setjmp(reader.escape) != 0) return false;
  png_structp png = reader.png;
  if (layout.channels == 1) {
    png_set_packing(png);
  } else {
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    if ((png_get_color_type(png, reader.info) & PNG_COLOR_MASK_COLOR) == 0) {
      png_set_expand_gray_1_2_4_to_8(png);
      png_set_gray_to_rgb(png);
    }
  }
  png_set_interlace_handling(png);
  png_read_update_info(png, reader.info);
  if (png_get_rowbytes(png, reader.info) != row_bytes) png_error(png, "unexpected row size");
  png_read_image(png, rows);
  return true;
}

using Palette = std::array<std::array<std::uint8_t, 3>, 256>;

// Entries that the file leaves out are black, as in Pillow.
Palette palette_of(PngReader& reader) {
  Palette palette{};
  png_colorp entries = nullptr;
  int count = 0;
  png_get_PLTE(reader.png, reader.info, &entries, &count);
  for (int i = 0; i < std::min(count, 256); ++i) {
    palette[static_cast<std::size_t>(i)] = {entries[i].red, entries[i].green, entries[i].blue};
  }
  return palette;
}

}  // namespace

Image decode_png(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits) {
  const auto fail = [&](std::string_view what) { fail_decoding(name, "broken PNG: " + std::string(what)); };
  PngReader reader;
  reader.rest = bytes;
  if (!read_header(reader)) fail(reader.message);
  const std::uint64_t width = png_get_image_width(reader.png, reader.info);
  const std::uint64_t height = png_get_image_height(reader.png, reader.info);
  const std::uint64_t stored = png_get_rowbytes(reader.png, reader.info);
  if (stored > bytes.size() * kMostInflation / height) fail("the data ends early");

  Image image = allocate_image(width, height, name, limits);
  const Layout layout = layout_of(reader);
  // Palette indices and 16-bit grey are read into the end of their row and expanded forwards in place.
  const std::size_t row_bytes = width * static_cast<std::size_t>(layout.channels * layout.depth / 8);
  const std::size_t offset = width * 3 - row_bytes;
  std::vector<png_bytep> rows(height);
  for (std::size_t y = 0; y < height; ++y) rows[y] = image.rgb.data() + y * width * 3 + offset;
  if (!read_pixels(reader, layout, rows.data(), row_bytes)) fail(reader.message);
  if (layout.channels == 3) return image;

  const Palette palette = palette_of(reader);
  for (const std::uint8_t* from : rows) {
    std::uint8_t* to = const_cast<std::uint8_t*>(from) - offset;
    for (std::size_t x = 0; x < width; ++x, to += 3) {
      if (layout.depth == 8) {
        std::memcpy(to, palette[from[x]].data(), 3);
      } else {
        std::memset(to, from[2 * x] != 0 ? 255 : from[2 * x + 1], 3);
      }
    }
  }
  return image;
}

}  // namespace attune

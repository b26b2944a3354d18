#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it before itself
#include <jpeglib.h>
#include <string>
#include <vector>

#include "attune/images/codecs.h"

namespace attune {
namespace {

// A progressive file may repeat its scans without end, each costing a pass over all coefficients.
constexpr int kMostScans = 500;

// libjpeg reports errors by a longjmp. Every call is made in one of the static functions below, which hold nothing that
// needs a destructor; what must be released lives in this object, outside of the jump.
struct JpegReader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape{};
  char message[JMSG_LENGTH_MAX] = "the data ends early";

  JpegReader() = default;
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&info); }
};

JpegReader& reader_of(j_common_ptr info) {
  return *static_cast<JpegReader*>(info->client_data);
}

[[noreturn]] void on_error(j_common_ptr info) {
  JpegReader& reader = reader_of(info);
  info->err->format_message(info, reader.message);
  std::longjmp(reader.escape, 1);
}

void on_warning(j_common_ptr info, int level) {
  if (level < 0) ++info->err->num_warnings;
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  JpegReader& reader = reader_of(info);
  std::snprintf(reader.message, sizeof(reader.message), "expected at most %d scans", kMostScans);
  std::longjmp(reader.escape, 1);
}

// All bytes are there from the start, so a request for more means that the file is cut short; decoding stops where
// Pillow's does, without inventing the rest.
boolean no_more_bytes(j_decompress_ptr) {
  return FALSE;
}

void skip_bytes(j_decompress_ptr info, long count) {
  const std::size_t skipped = std::min(info->src->bytes_in_buffer, static_cast<std::size_t>(std::max(count, 0L)));
  info->src->next_input_byte += skipped;
  info->src->bytes_in_buffer -= skipped;
}

void nothing(j_decompress_ptr) {}

bool read_header(JpegReader& reader, std::span<const std::byte> bytes) {
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_error;
  reader.errors.emit_message = on_warning;
  reader.info.client_data = &reader;
  if (setjmp(reader.escape) != 0) return false;
  jpeg_create_decompress(&reader.info);
  reader.info.client_data = &reader;
  reader.source = {reinterpret_cast<const JOCTET*>(bytes.data()),
                   bytes.size(),
                   nothing,
                   no_more_bytes,
                   skip_bytes,
                   jpeg_resync_to_restart,
                   nothing};
  reader.info.src = &reader.source;
  reader.progress.progress_monitor = on_progress;
  reader.info.progress = &reader.progress;
  return jpeg_read_header(&reader.info, TRUE) == JPEG_HEADER_OK;
}

bool start(JpegReader& reader) {
  if (setjmp(reader.escape) != 0) return false;
  return jpeg_start_decompress(&reader.info) != FALSE;
}

bool read_row(JpegReader& reader, std::uint8_t* row) {
  if (setjmp(reader.escape) != 0) return false;
  return jpeg_read_scanlines(&reader.info, &row, 1) == 1;
}

bool read_rows(JpegReader& reader, std::uint8_t* first, std::size_t stride) {
  if (setjmp(reader.escape) != 0) return false;
  while (reader.info.output_scanline < reader.info.output_height) {
    JSAMPROW row = first + reader.info.output_scanline * stride;
    if (jpeg_read_scanlines(&reader.info, &row, 1) != 1) return false;
  }
  return true;
}

// Pillow's CMYK -> RGB on samples that were stored inverted, as Adobe's programs do: (255 - k) * (255 - c) / 255.
void cmyk_to_rgb(const std::uint8_t* inverted, int width, std::uint8_t* rgb) {
  for (int x = 0; x < width; ++x, inverted += 4, rgb += 3) {
    const int key = inverted[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - inverted[c]) * key + 128;
      rgb[c] = static_cast<std::uint8_t>(std::clamp(key - ((product + (product >> 8)) >> 8), 0, 255));
    }
  }
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits) {
  const auto fail = [&](std::string_view what) { fail_decoding(name, "broken JPEG: " + std::string(what)); };
  JpegReader reader;
  if (!read_header(reader, bytes)) fail(reader.message);
  jpeg_decompress_struct& info = reader.info;
  const int channels = info.num_components;
  if (channels != 1 && channels != 3 && channels != 4) {
    fail("expected 1, 3 or 4 channels, found " + std::to_string(channels));
  }
  // Huffman coding spends at least one bit on a block of coefficients.
  const std::uint64_t blocks = std::uint64_t{info.comp_info[0].width_in_blocks} * info.comp_info[0].height_in_blocks;
  if (!info.arith_code && blocks > bytes.size() * 8) fail("the data ends early");

  Image image = allocate_image(info.image_width, info.image_height, name, limits);
  info.out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
  if (!start(reader)) fail(reader.message);
  const std::size_t stride = std::size_t{info.output_width} * 3;
  if (channels != 4) {
    if (!read_rows(reader, image.rgb.data(), stride)) fail(reader.message);
    return image;
  }
  std::vector<std::uint8_t> row(std::size_t{info.output_width} * 4);
  for (int y = 0; y < image.height; ++y) {
    if (!read_row(reader, row.data())) fail(reader.message);
    cmyk_to_rgb(row.data(), image.width, image.rgb.data() + static_cast<std::size_t>(y) * stride);
  }
  return image;
}

}  // namespace attune

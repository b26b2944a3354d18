#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <webp/decode.h>

#include "attune/images/codecs.h"

namespace attune {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::uint32_t little_endian(Bytes bytes, std::size_t at, int count) {
  std::uint32_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | bytes[at + static_cast<std::size_t>(i)];
  return value;
}

/// The first frame of an animation and where it stands on the canvas.
struct Frame {
  std::uint32_t x = 0, y = 0, width = 0, height = 0;
  Bytes data;
};

// Container layout: RIFF header of 12 bytes, then chunks of tag, size, payload padded to even.
Frame first_frame(Bytes file, std::string_view name) {
  for (std::size_t at = 12; at + 8 <= file.size();) {
    const std::uint64_t size = little_endian(file, at + 4, 4);
    const std::size_t rest = file.size() - at - 8;
    if (size > rest) break;
    if (std::memcmp(file.data() + at, "ANMF", 4) == 0) {
      if (size < 16) break;
      const Bytes frame = file.subspan(at + 8, size);
      return {little_endian(frame, 0, 3) * 2, little_endian(frame, 3, 3) * 2, little_endian(frame, 6, 3) + 1,
              little_endian(frame, 9, 3) + 1, frame.subspan(16)};
    }
    at += 8 + size + (size & 1);
  }
  fail_decoding(name, "broken WebP: expected an animation frame, found none");
}

void check_frame(const Frame& frame, const WebPBitstreamFeatures& canvas, std::string_view name) {
  const auto width = static_cast<std::uint32_t>(canvas.width), height = static_cast<std::uint32_t>(canvas.height);
  WebPBitstreamFeatures features{};
  if (std::uint64_t{frame.x} + frame.width > width || std::uint64_t{frame.y} + frame.height > height ||
      WebPGetFeatures(frame.data.data(), frame.data.size(), &features) != VP8_STATUS_OK ||
      features.width != static_cast<int>(frame.width) || features.height != static_cast<int>(frame.height)) {
    fail_decoding(name, fmt::format("broken WebP: the first frame does not fit its canvas of {} x {}", width, height));
  }
}

}  // namespace

Image decode_webp(std::span<const std::byte> bytes, std::string_view name, const DecodeLimits& limits) {
  const Bytes file(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(file.data(), file.size(), &features) != VP8_STATUS_OK) {
    fail_decoding(name, "broken WebP: the header cannot be read");
  }
  if (little_endian(file, 4, 4) > file.size() - 8) fail_decoding(name, "broken WebP: the data ends early");
  Frame frame{0, 0, static_cast<std::uint32_t>(features.width), static_cast<std::uint32_t>(features.height), file};
  if (features.has_animation != 0) {
    frame = first_frame(file, name);
    check_frame(frame, features, name);
  }
  Image image = allocate_image(static_cast<std::uint64_t>(features.width), static_cast<std::uint64_t>(features.height),
                               name, limits);
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  const std::size_t offset = frame.y * stride + std::size_t{frame.x} * 3;
  if (WebPDecodeRGBInto(frame.data.data(), frame.data.size(), image.rgb.data() + offset, image.rgb.size() - offset,
                        static_cast<int>(stride)) == nullptr) {
    fail_decoding(name, "broken WebP: the data is damaged or ends early");
  }
  return image;
}

}  // namespace attune

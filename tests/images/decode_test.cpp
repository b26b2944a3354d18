#include "attune/images/decode.h"

#include <cstdlib>
#include <cstring>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/images/encode.h"
#include "attune/images/preprocess.h"
#include "tests/images/support.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Image decode(const std::string& content, const DecodeLimits& limits = {}) {
  return decode_image(std::as_bytes(std::span(content)), "some file", limits);
}

std::string file(const std::string& name) {
  return read_file(test_data() / "files" / name);
}

TEST(Decode, GivesPillowsPixelsForEveryKindOfFileParity) {
  const auto lines = expected_lines("decode.txt");
  ASSERT_GE(lines.size(), 55U);
  for (const auto& line : lines) {
    SCOPED_TRACE(line[0]);
    const Image image = read_image(test_data() / "files" / line[0]);
    EXPECT_EQ(std::to_string(image.width), line[1]);
    EXPECT_EQ(std::to_string(image.height), line[2]);
    EXPECT_EQ(digest(image), line[3]);
  }
}

TEST(DecodePhotos, GivesPillowsPixelsParity) {
  const char* root = std::getenv("ATTUNE_REAL_DATA");
  if (root == nullptr) GTEST_SKIP() << "ATTUNE_REAL_DATA is not set";
  const auto lines = expected_lines("real.txt");
  ASSERT_EQ(lines.size(), 40U);
  for (const auto& line : lines) {
    SCOPED_TRACE(line[0]);
    const Image image = read_image(std::filesystem::path(root) / line[0]);
    EXPECT_EQ(digest(image), line[1]);
    EXPECT_EQ(digest(resize_short_side(image, 160, Filter::kBicubic)), line[2]);
  }
}

TEST(Decode, TheCorpusHoldsEveryKind) {
  std::set<std::string> kinds;
  for (const auto& line : expected_lines("decode.txt")) kinds.insert(line[0].substr(0, line[0].find('_')));
  EXPECT_EQ(kinds, (std::set<std::string>{"jpeg", "png", "webp"}));
}

// A prefix may lack only what follows the last pixel; then the picture is whole, else an Error names the file.
void expect_no_invention(const std::string& name, std::size_t step) {
  SCOPED_TRACE(name);
  const std::string content = file(name);
  const Image whole = decode(content);
  std::size_t refused = 0;
  for (std::size_t size = 0; size < content.size(); size += step) {
    const std::string error = error_of([&] { EXPECT_EQ(decode(content.substr(0, size)), whole) << size; });
    if (!error.empty()) {
      ++refused;
      EXPECT_THAT(error, StartsWith("some file: "));
    }
  }
  EXPECT_GE(refused * step, (content.size() - 40) * 9 / 10);
}

TEST(Decode, RefusesFilesTruncatedAtEveryLength) {
  expect_no_invention("jpeg_420.jpg", 1);
  expect_no_invention("jpeg_420_progressive.jpg", 1);
  expect_no_invention("jpeg_ycck.jpg", 7);
  expect_no_invention("png_c6_d8_interlaced.png", 1);
  expect_no_invention("png_c3_d4.png", 1);
  expect_no_invention("png_c0_d16.png", 1);
  expect_no_invention("webp_lossy_rgb.webp", 1);
  expect_no_invention("webp_lossless_alpha.webp", 1);
  expect_no_invention("webp_animated.webp", 3);
}

TEST(Decode, SurvivesDamageAnywhere) {
  for (const auto& line : expected_lines("decode.txt")) {
    SCOPED_TRACE(line[0]);
    const std::string content = file(line[0]);
    for (std::size_t at = 0; at < content.size(); at += 1 + content.size() / 60) {
      for (const char value : {'\x00', '\xFF', '\x7F'}) {
        std::string damaged = content;
        damaged[at] = value;
        // Damage may go unnoticed (a pixel value) or be an Error; nothing else, and never a picture without its pixels.
        const std::string error = error_of([&] {
          const Image image = decode(damaged, {.pixels = 1'000'000});
          EXPECT_EQ(image.rgb.size(),
                    static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
        });
        if (!error.empty()) EXPECT_THAT(error, StartsWith("some file: "));
      }
    }
  }
}

TEST(Decode, NamesWhatIsWrongWithTheFile) {
  EXPECT_EQ(error_of([] { decode(""); }), "some file: expected a JPEG, PNG or WebP picture, found an empty file");
  EXPECT_THAT(error_of([] { decode("GIF89a"); }),
              HasSubstr("expected a JPEG, PNG or WebP picture, found something else"));
  EXPECT_THAT(error_of([] { decode(file("png_c2_d8.png"), {.bytes = 10}); }), HasSubstr("expected at most 10 bytes"));
  EXPECT_THAT(error_of([] { read_image("no/such/file.jpg"); }), HasSubstr("no/such/file.jpg"));
  EXPECT_THAT(error_of([] { read_image(test_data()); }), HasSubstr(test_data().string()));
}

TEST(Decode, NoticesDamagedPngData) {
  std::string content = file("png_c2_d8.png");
  content[content.find("IDAT") + 30] ^= 1;
  EXPECT_THAT(error_of([&] { decode(content); }), StartsWith("some file: broken PNG: "));
}

// Claims of a size, with hardly any data behind it.
std::string claimed(const std::string& name, std::size_t at, const std::string& bytes) {
  return file(name).replace(at, bytes.size(), bytes);
}

TEST(Decode, RefusesBombsBeforeItAllocates) {
  for (const auto& line : {"png_c2_d8.png", "jpeg_420.jpg", "webp_lossy_rgb.webp", "webp_animated.webp"}) {
    SCOPED_TRACE(line);
    EXPECT_THAT(error_of([&] { decode(file(line), {.pixels = 100}); }), HasSubstr("expected at most 100 pixels"));
  }
  const std::string jpeg = file("jpeg_420.jpg");
  const std::size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  EXPECT_THAT(error_of([&] { decode(claimed("jpeg_420.jpg", frame + 5, "\x20\x01\x20\x01")); }),
              HasSubstr("the data ends early"));
  EXPECT_THAT(error_of([&] { decode(claimed("jpeg_420.jpg", frame + 5, "\xFF\x01\xFF\x01")); }),
              StartsWith("some file"));
}

TEST(Decode, RefusesAPngThatClaimsMoreThanItsDataCanHold) {
  std::string content = encode_png(noise(8, 8, 1));
  // Width and height of 12288, with a checksum of the header that is right for them.
  const std::string header("IHDR\0\0\x30\0\0\0\x30\0\x08\x02\0\0\0", 17);
  std::uint32_t sum = 0xFFFFFFFF;
  for (const char letter : header) {
    sum ^= static_cast<std::uint8_t>(letter);
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xEDB88320 : 0);
  }
  sum = ~sum;
  content.replace(12, header.size(), header);
  for (std::size_t i = 0; i < 4; ++i) content[29 + i] = static_cast<char>(sum >> (24 - 8 * i));
  EXPECT_EQ(error_of([&] { decode(content); }), "some file: broken PNG: the data ends early");
}

}  // namespace
}  // namespace attune

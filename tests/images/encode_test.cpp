#include "attune/images/encode.h"

#include <gtest/gtest.h>

#include "attune/images/decode.h"
#include "attune/images/svg.h"
#include "tests/images/support.h"

namespace attune {
namespace {

Image decode_again(const std::string& content) {
  return decode_image(std::as_bytes(std::span(content)), "encoded");
}

TEST(EncodePng, IsReadBackBitForBit) {
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 2}, {64, 64}, {101, 7}}) {
    const Image image = noise(width, height, 4);
    EXPECT_EQ(decode_again(encode_png(image)), image);
    EXPECT_EQ(encode_png(image), encode_png(image));
  }
}

TEST(EncodePng, KeepsOpacityAndColourApart) {
  AlphaImage image{2, 1, {10, 20, 30, 0, 200, 100, 50, 128}};
  const std::string png = encode_png(image);
  EXPECT_EQ(png[25], 6);  // colour type RGBA
  EXPECT_EQ(decode_again(png).rgb, (std::vector<std::uint8_t>{10, 20, 30, 200, 100, 50}));
}

TEST(EncodePng, RefusesAPictureWithoutItsPixels) {
  EXPECT_THROW(encode_png(Image{}), Error);
  EXPECT_THROW(encode_png(Image{2, 2, {1, 2, 3}}), Error);
}

TEST(PngTexts, StandBeforeThePixelsAndChangeNothingElse) {
  const Image image = noise(9, 5, 3);
  const std::string plain = encode_png(image);
  const std::string said = with_png_texts(plain, {{"Software", "Attune"}, {"attune", "{\"prompt\": \"é\"}"}});
  EXPECT_EQ(decode_again(said), image);
  // Keyword, five zeros for what it does not have, the text; the checksum was made by another program.
  const std::string chunk(
      "\0\0\0\x13"
      "iTXtSoftware\0\0\0\0\0Attune"
      "\xa7\xea\x1e\xcf",
      31);
  EXPECT_EQ(said.substr(33, chunk.size()), chunk);
  EXPECT_NE(said.find("{\"prompt\": \"é\"}"), std::string::npos);
  EXPECT_EQ(said.substr(said.size() - (plain.size() - 33)), plain.substr(33));
}

TEST(PngTexts, RefusesWhatIsNoText) {
  const std::string plain = encode_png(noise(4, 4, 3));
  EXPECT_THROW(with_png_texts(plain, {{"", "x"}}), Error);
  EXPECT_THROW(with_png_texts(plain, {{std::string(80, 'k'), "x"}}), Error);
  EXPECT_THROW(with_png_texts(plain, {{"k", std::string("a\0b", 3)}}), Error);
  EXPECT_THROW(with_png_texts(plain, {{"k", "\xff"}}), Error);
  EXPECT_THROW(with_png_texts("no picture", {{"k", "x"}}), Error);
}

TEST(DataUri, IsBase64WithPadding) {
  EXPECT_EQ(data_uri(""), "data:image/png;base64,");
  EXPECT_EQ(data_uri("f"), "data:image/png;base64,Zg==");
  EXPECT_EQ(data_uri("fo"), "data:image/png;base64,Zm8=");
  EXPECT_EQ(data_uri("foo"), "data:image/png;base64,Zm9v");
  EXPECT_EQ(data_uri("\xFB\xFF\xFE"), "data:image/png;base64,+//+");
}

TEST(Composite, MixesByOpacity) {
  const AlphaImage image{3, 1, {255, 0, 0, 255, 9, 9, 9, 0, 255, 0, 100, 51}};
  const Image over = composite(image, {0, 255, 100});
  EXPECT_EQ(over.rgb, (std::vector<std::uint8_t>{255, 0, 0, 0, 255, 100, 51, 204, 100}));
}

}  // namespace
}  // namespace attune

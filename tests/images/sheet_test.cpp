#include "attune/images/sheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace attune {
namespace {

using testing::HasSubstr;

Image plain(int width, int height, std::uint8_t value) {
  Image image{width, height, {}};
  image.rgb.assign(static_cast<std::size_t>(width * height) * 3, value);
  return image;
}

std::uint8_t red(const Image& image, int x, int y) {
  return image.rgb[static_cast<std::size_t>(y * image.width + x) * 3];
}

TEST(PictureSheet, PicturesStandInRowsOnWhite) {
  const Image sheet = picture_sheet({plain(100, 100, 10), plain(100, 100, 20), plain(100, 100, 30)}, 2);
  EXPECT_EQ(sheet.width, 212);
  EXPECT_EQ(sheet.height, 212);
  EXPECT_EQ(red(sheet, 0, 0), 255);
  EXPECT_EQ(red(sheet, 4, 4), 10);
  EXPECT_EQ(red(sheet, 103, 103), 10);
  EXPECT_EQ(red(sheet, 108, 4), 20);
  EXPECT_EQ(red(sheet, 4, 108), 30);
  EXPECT_EQ(red(sheet, 108, 108), 255);
}

TEST(PictureSheet, SmallPicturesAreEnlargedByAWholeNumber) {
  Image small = plain(40, 32, 0);
  small.rgb[0] = 200;
  const Image sheet = picture_sheet({small}, 8);
  EXPECT_EQ(sheet.width, 3 * 40 + 8);
  EXPECT_EQ(sheet.height, 3 * 32 + 8);
  EXPECT_EQ(red(sheet, 6, 6), 200);
  EXPECT_EQ(red(sheet, 7, 6), 0);
}

TEST(PictureSheet, WhatIsNoSheetIsRefused) {
  EXPECT_THAT(error_of([] { picture_sheet({}, 2); }), HasSubstr("found 0"));
  EXPECT_THAT(error_of([] { picture_sheet({plain(8, 8, 0)}, 0); }), HasSubstr("columns"));
  EXPECT_THAT(error_of([] { picture_sheet({plain(8, 8, 0), plain(8, 9, 0)}, 2); }), HasSubstr("8 x 9"));
}

}  // namespace
}  // namespace attune

#include "attune/images/preprocess.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/images/resample.h"
#include "tests/images/support.h"

namespace attune {
namespace {

using testing::HasSubstr;

Filter filter_of(const std::string& name) {
  return name == "bicubic" ? Filter::kBicubic : Filter::kBilinear;
}

Image source_of(const std::vector<std::string>& line, std::size_t at) {
  return noise(std::stoi(line[at]), std::stoi(line[at + 1]), static_cast<std::uint32_t>(std::stoul(line[at + 2])));
}

Image resized(const Image& image, int width, int height, Filter filter, const ResampleKernels& kernels) {
  return resample(image, {0, 0, image.width, image.height}, width, height, {0, 0, width, height}, filter, kernels);
}

Image cut(const Image& image, const PixelBox& box) {
  Image out{box.width, box.height, {}};
  for (int y = box.top; y < box.top + box.height; ++y) {
    const auto row = image.rgb.begin() + (static_cast<std::ptrdiff_t>(y) * image.width + box.left) * 3;
    out.rgb.insert(out.rgb.end(), row, row + static_cast<std::ptrdiff_t>(box.width) * 3);
  }
  return out;
}

TEST(Resize, GivesPillowsBitsParity) {
  const auto lines = expected_lines("resize.txt");
  ASSERT_EQ(lines.size(), 68U);
  for (const auto& line : lines) {
    SCOPED_TRACE(testing::PrintToString(line));
    const Image image = source_of(line, 0);
    const int width = std::stoi(line[3]), height = std::stoi(line[4]);
    EXPECT_EQ(digest(resize(image, width, height, filter_of(line[5]))), line[6]);
    EXPECT_EQ(digest(resized(image, width, height, filter_of(line[5]), portable_kernels())), line[6]);
  }
}

TEST(Resize, KernelsAgreeOnRandomRectanglesAndWindows) {
  KeyedRandom random(3, "kernels");
  for (int trial = 0; trial < 150; ++trial) {
    SCOPED_TRACE(trial);
    const auto draw = [&](int bound) { return static_cast<int>(random.below(static_cast<std::uint64_t>(bound))); };
    const Image image = noise(1 + draw(90), 1 + draw(90), random.next_u32());
    PixelBox source{draw(image.width), draw(image.height), 0, 0};
    source.width = 1 + draw(image.width - source.left);
    source.height = 1 + draw(image.height - source.top);
    const int width = 1 + draw(70), height = 1 + draw(70);
    PixelBox window{draw(width), draw(height), 0, 0};
    window.width = 1 + draw(width - window.left);
    window.height = 1 + draw(height - window.top);
    const Filter filter = random.chance(0.5) ? Filter::kBicubic : Filter::kBilinear;
    const Image part = resample(image, source, width, height, window, filter);
    EXPECT_EQ(part, resample(image, source, width, height, window, filter, portable_kernels()));
    EXPECT_EQ(part, cut(resize(cut(image, source), width, height, filter), window));
  }
}

TEST(Resize, KeepsAnImageOfOneColour) {
  Image image{31, 17, std::vector<std::uint8_t>(31 * 17 * 3, 201)};
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
    for (const std::uint8_t value : resize(image, 50, 5, filter).rgb) ASSERT_EQ(value, 201);
  }
}

TEST(Resize, RefusesImpossibleSizes) {
  const Image image = noise(4, 4, 1);
  EXPECT_THAT(error_of([&] { resize(image, 0, 3, Filter::kBicubic); }), HasSubstr("found 0 x 3"));
  EXPECT_THAT(error_of([&] { resize(image, 3, -1, Filter::kBicubic); }), HasSubstr("3 x -1"));
  EXPECT_THAT(error_of([&] { resize(image, 100'000, 100'000, Filter::kBicubic); }), HasSubstr("100000 x 100000"));
  EXPECT_THAT(error_of([&] { resize(Image{}, 3, 3, Filter::kBicubic); }), HasSubstr("0 x 0"));
  EXPECT_THAT(error_of([&] { resize(Image{4, 4, {1, 2, 3}}, 3, 3, Filter::kBicubic); }), HasSubstr("4 x 4"));
  EXPECT_THAT(error_of([&] { resize_short_side(image, 0, Filter::kBicubic); }), HasSubstr("at least 1"));
  EXPECT_THAT(error_of([&] { centre_crop(image, 0, CropConvention::kTorchvision); }), HasSubstr("at least 1"));
}

TEST(Crop, IsTheRectangleAndStaysWithinThePicture) {
  const Image image = noise(7, 5, 1);
  EXPECT_EQ(crop(image, 2, 1, 4, 3), cut(image, {2, 1, 4, 3}));
  EXPECT_EQ(crop(image, 0, 0, 7, 5), image);
  EXPECT_THROW(crop(image, -1, 0, 2, 2), Error);
  EXPECT_THROW(crop(image, 0, 0, 0, 2), Error);
  EXPECT_THROW(crop(image, 6, 0, 2, 2), Error);
  EXPECT_THROW(crop(image, 1, 1, 2, 2147483647), Error);
}

TEST(Views, EqualTorchvisionAndHuggingFaceParity) {
  const auto lines = expected_lines("views.txt");
  ASSERT_EQ(lines.size(), 52U);
  for (const auto& line : lines) {
    SCOPED_TRACE(testing::PrintToString(line));
    const Image image = source_of(line, 1);
    const auto convention = line[6] == "torchvision" ? CropConvention::kTorchvision : CropConvention::kHuggingFace;
    Preprocess preprocess;
    preprocess.size = std::stoi(line[4]);
    preprocess.filter = filter_of(line[5]);
    preprocess.crop = convention;
    const bool whole = line[0] == "view";
    EXPECT_EQ(digest(whole ? centre_view(image, preprocess) : centre_crop(image, preprocess.size, convention)),
              line[7]);
    if (whole) {
      EXPECT_EQ(digest(centre_crop(resize_short_side(image, preprocess.size, preprocess.filter), preprocess.size,
                                   convention)),
                line[7]);
    }
  }
}

TEST(Views, OfAnExtremeStripNeedNoMoreThanTheCrop) {
  Preprocess preprocess;
  preprocess.size = 32;
  const Image strip = noise(1, 60'000, 1);
  EXPECT_EQ(centre_view(strip, preprocess).rgb.size(), 32U * 32 * 3);
}

TEST(Views, NormaliseGivesTorchvisionsFloatsParity) {
  const auto line = expected_lines("normalise.txt").at(0);
  const Image image = source_of(line, 0);
  std::vector<float> values(image.rgb.size());
  normalise(image, Preprocess{}, values.data());
  EXPECT_EQ(digest(values), line[3]);
}

// Red tells the column and green the row, so that a view shows where it was taken.
Image map_of(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (const int value : {x * 255 / (width - 1), y * 255 / (height - 1), 0}) {
        image.rgb.push_back(static_cast<std::uint8_t>(value));
      }
    }
  }
  return image;
}

TEST(RandomView, CoversTheAreasRatiosAndFlipsOfTheRule) {
  const Image image = map_of(300, 300);
  Preprocess preprocess;
  preprocess.size = 32;
  preprocess.filter = Filter::kBilinear;
  int flips = 0, small = 0, wide = 0;
  constexpr int kViews = 400;
  for (int index = 0; index < kViews; ++index) {
    KeyedRandom random(1, "view", static_cast<std::uint64_t>(index));
    const Image view = random_view(image, preprocess, {}, random);
    const auto at = [&](int x, int y, std::size_t c) {
      return static_cast<double>(view.rgb[static_cast<std::size_t>(y * 32 + x) * 3 + c]);
    };
    // 31/32 of the crop lies between the centres of the first and the last pixel.
    const double across = (at(31, 16, 0) - at(0, 16, 0)) / 255 * 32 / 31,
                 down = (at(16, 31, 1) - at(16, 0, 1)) / 255 * 32 / 31;
    const double area = std::abs(across) * down, ratio = std::abs(across) / down;
    EXPECT_GT(area, 0.065);
    EXPECT_LT(area, 1.03);
    EXPECT_GT(ratio, 0.70);
    EXPECT_LT(ratio, 1.43);
    flips += across < 0 ? 1 : 0;
    small += area < 0.54 ? 1 : 0;
    wide += ratio > 1 ? 1 : 0;
  }
  EXPECT_NEAR(flips, kViews / 2, 50);
  EXPECT_NEAR(wide, kViews / 2, 50);
  EXPECT_NEAR(small, kViews / 2, 60);  // uniform in the area; a few large ones fall to the ratio rule
}

TEST(RandomView, DependsOnItsKeyAlone) {
  const Image image = noise(80, 60, 9);
  Preprocess preprocess;
  preprocess.size = 24;
  const auto view = [&](std::uint64_t index) {
    KeyedRandom random(5, "view", index);
    return random_view(image, preprocess, {}, random);
  };
  EXPECT_EQ(view(3), view(3));
  EXPECT_NE(view(3), view(4));
}

TEST(RandomView, FallsBackToTheNearestRatioForAStrip) {
  const Image image = map_of(1000, 20);
  Preprocess preprocess;
  preprocess.size = 20;
  const Augmentation whole{1.0, 1.0, 0.0};  // an area of all of it never fits the ratios
  KeyedRandom random(1, "strip");
  // Height 20 allows a width of round(20 * 4 / 3) = 27, centred: columns 486 to 512.
  EXPECT_EQ(random_view(image, preprocess, whole, random),
            resize(cut(image, {486, 0, 27, 20}), 20, 20, Filter::kBicubic));
}

TEST(RandomView, RefusesAreasThatAreNoShares) {
  KeyedRandom random(1, "x");
  EXPECT_THAT(error_of([&] { random_view(noise(9, 9, 1), {}, {0.0, 1.0, 0.5}, random); }), HasSubstr("shares"));
  EXPECT_THAT(error_of([&] { random_view(noise(9, 9, 1), {}, {0.5, 0.4, 0.5}, random); }), HasSubstr("shares"));
}

}  // namespace
}  // namespace attune

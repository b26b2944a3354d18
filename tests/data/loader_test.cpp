#include "attune/data/loader.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/support.h"

namespace attune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class LoaderTest : public ::testing::Test {
 protected:
  static constexpr int kPictures = 23;

  LoaderTest() {
    dataset_.root = folder_.path();
    for (int i = 0; i < kPictures; ++i) {
      Sample sample;
      sample.path = std::to_string(i) + ".png";
      sample.label = i % 5;
      sample.domain = i % 2;
      write_picture(folder_.path() / sample.path, static_cast<unsigned>(i));
      samples_.push_back(sample);
    }
    options_.preprocess.size = 8;
    options_.batch = 4;
    options_.threads = 3;
  }

  std::vector<std::int64_t> order(int count = kPictures) const {
    std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
    std::iota(positions.begin(), positions.end(), 0);
    return positions;
  }

  static std::vector<float> all_pixels(Loader& loader) {
    std::vector<float> pixels;
    PixelBatch batch;
    while (loader.next(batch)) pixels.insert(pixels.end(), batch.pixels.begin(), batch.pixels.end());
    return pixels;
  }

  TemporaryFolder folder_;
  Dataset dataset_;
  std::vector<Sample> samples_;
  LoaderOptions options_;
};

TEST_F(LoaderTest, HandsOverEveryPictureInOrderWithItsLabels) {
  Loader loader(dataset_, samples_, options_);
  loader.start(0, order());
  EXPECT_EQ(loader.batches(), 6);
  PixelBatch batch;
  std::vector<std::int64_t> seen;
  while (loader.next(batch)) {
    ASSERT_EQ(batch.pixels.size(), static_cast<std::size_t>(batch.size()) * 3 * 8 * 8);
    for (std::size_t row = 0; row < batch.positions.size(); ++row) {
      const Sample& sample = samples_[static_cast<std::size_t>(batch.positions[row])];
      EXPECT_EQ(batch.labels[row], sample.label);
      EXPECT_EQ(batch.domains[row], sample.domain);
      std::vector<float> expected(3 * 8 * 8);
      load_view(dataset_.path_of(sample), options_, 0, expected.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                             batch.pixels.begin() + static_cast<std::ptrdiff_t>(row * expected.size())));
    }
    seen.insert(seen.end(), batch.positions.begin(), batch.positions.end());
  }
  EXPECT_EQ(seen, order());
  EXPECT_FALSE(loader.next(batch));
}

TEST_F(LoaderTest, RandomViewsDependOnSeedAndEpochButNotOnThreadsOrPrefetch) {
  options_.augmentation = Augmentation{};
  options_.seed = 5;
  std::vector<float> first;
  for (const int threads : {1, 2, 5}) {
    options_.threads = threads;
    options_.prefetch = threads;
    Loader loader(dataset_, samples_, options_);
    loader.start(3, order());
    const std::vector<float> pixels = all_pixels(loader);
    if (first.empty()) first = pixels;
    EXPECT_EQ(pixels, first);
    loader.start(4, order());
    EXPECT_NE(all_pixels(loader), first);
    loader.start(3, order());
    EXPECT_EQ(all_pixels(loader), first);
  }
  options_.seed = 6;
  Loader other(dataset_, samples_, options_);
  other.start(3, order());
  EXPECT_NE(all_pixels(other), first);
}

TEST_F(LoaderTest, AViewBelongsToThePictureWhereverItStandsInTheList) {
  options_.augmentation = Augmentation{};
  options_.batch = 1;
  Loader loader(dataset_, {samples_[4], samples_[9], samples_[4]}, options_);
  loader.start(1, {0, 1, 2});
  PixelBatch batch;
  std::vector<std::vector<float>> views;
  while (loader.next(batch)) views.push_back(batch.pixels);
  EXPECT_EQ(views.at(0), views.at(2));
  EXPECT_NE(views.at(0), views.at(1));
}

TEST_F(LoaderTest, DropLastDropsOnlyBesideAFullBatch) {
  options_.drop_last = true;
  Loader loader(dataset_, samples_, options_);
  loader.start(0, order());
  EXPECT_EQ(loader.batches(), 5);
  loader.start(0, order(3));
  EXPECT_EQ(loader.batches(), 1);
  PixelBatch batch;
  ASSERT_TRUE(loader.next(batch));
  EXPECT_EQ(batch.size(), 3);
}

TEST_F(LoaderTest, ABrokenPictureIsAnErrorInItsOwnBatch) {
  write_file(folder_.path() / "9.png", "no picture");
  std::filesystem::remove(folder_.path() / "17.png");
  Loader loader(dataset_, samples_, options_);
  loader.start(0, order());
  PixelBatch batch;
  EXPECT_TRUE(loader.next(batch));
  EXPECT_TRUE(loader.next(batch));
  EXPECT_THAT(error_of([&] { loader.next(batch); }), HasSubstr("9.png"));
  EXPECT_THAT(error_of([&] { loader.next(batch); }), HasSubstr("9.png"));
  loader.start(0, order(8));
  EXPECT_THAT(all_pixels(loader), SizeIs(8 * 3 * 8 * 8));
}

TEST_F(LoaderTest, SkipBrokenLeavesThemOutAndSaysWhich) {
  options_.skip_broken = true;
  write_file(folder_.path() / "9.png", "no picture");
  std::filesystem::remove(folder_.path() / "17.png");
  Loader loader(dataset_, samples_, options_);
  loader.start(0, order());
  PixelBatch batch;
  std::vector<std::int64_t> seen;
  while (loader.next(batch)) {
    for (std::size_t row = 0; row < batch.positions.size(); ++row) {
      std::vector<float> expected(3 * 8 * 8);
      load_view(dataset_.path_of(samples_[static_cast<std::size_t>(batch.positions[row])]), options_, 0,
                expected.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                             batch.pixels.begin() + static_cast<std::ptrdiff_t>(row * expected.size())));
    }
    seen.insert(seen.end(), batch.positions.begin(), batch.positions.end());
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kPictures - 2));
  EXPECT_THAT(loader.skipped(), ElementsAre(HasSubstr("9.png"), HasSubstr("17.png")));
}

TEST_F(LoaderTest, StopsAtAnyMoment) {
  for (int taken = 0; taken < 4; ++taken) {
    Loader loader(dataset_, samples_, options_);
    for (int epoch = 0; epoch < 3; ++epoch) {
      loader.start(epoch, order());
      PixelBatch batch;
      for (int i = 0; i < taken; ++i) EXPECT_TRUE(loader.next(batch));
    }
  }
}

TEST_F(LoaderTest, WrongOptionsAndPositionsAreRefused) {
  Loader loader(dataset_, samples_, options_);
  EXPECT_THROW(loader.start(0, {kPictures}), UsageError);
  EXPECT_THROW(loader.start(0, {-1}), UsageError);
  loader.start(0, {});
  PixelBatch batch;
  EXPECT_FALSE(loader.next(batch));
  options_.threads = 0;
  EXPECT_THROW(Loader(dataset_, samples_, options_), UsageError);
}

}  // namespace
}  // namespace attune

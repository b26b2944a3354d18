#include "attune/data/emoji_dg.h"

#include <cstdlib>
#include <iostream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/json.h"
#include "attune/data/floors.h"
#include "attune/data/icon_set.h"
#include "attune/images/decode.h"
#include "tests/data/support.h"

namespace attune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kVendorIcons = R"({"prefix": "noto", "width": 10, "height": 10,
  "icons": {"disc": {"body": "<circle cx='5' cy='5' r='5' fill='#ff0000'/>"},
            "bar": {"body": "<path fill='currentColor' d='M20 0h10v20H20z'/>", "width": 20, "height": 20, "left": 10}},
  "aliases": {"round": {"parent": "again"}, "again": {"parent": "disc"}, "turned": {"parent": "disc", "rotate": 1},
              "loop": {"parent": "pool"}, "pool": {"parent": "loop"}}})";

constexpr const char* kEmojiLists = R"({"version": 1, "subgroups": [{"key": "tool", "name": "hand tool"}],
  "domains": {"noto": ["noto"], "fluent": ["fluent-flat"]},
  "concepts": [{"code": "1f600", "name": "disc", "group": "g", "subgroup": "tool", "held_out": false},
               {"code": "1f601", "name": "bar", "group": "g", "subgroup": "tool", "held_out": true},
               {"code": "1f602", "name": "ring", "group": "g", "subgroup": "other", "held_out": false}],
  "icons": {"noto": {"1f600": "round", "1f601": "bar", "1f602": "disc"}, "fluent-flat": {"1f600": "disc"}}})";

class EmojiDg : public ::testing::Test {
 protected:
  EmojiDg() {
    write_file(root() / "node_modules/@iconify-json/noto/icons.json", kVendorIcons);
    write_file(root() / "node_modules/@iconify-json/fluent-flat/icons.json", kVendorIcons);
    write_file(root() / "lists.json", kEmojiLists);
  }
  std::filesystem::path root() const { return folder_.path(); }
  void render() { render_emoji_dg(root() / "lists.json", root(), root() / "out", 16, 2); }

 private:
  TemporaryFolder folder_;
};

TEST_F(EmojiDg, RendersAndOpensBothTasks) {
  render();
  const Dataset dataset = open_emoji_dg(root() / "out", EmojiTask::kSubgroups);
  EXPECT_THAT(dataset.classes, ElementsAre("hand tool"));
  EXPECT_THAT(dataset.domains, ElementsAre("noto", "fluent"));
  ASSERT_THAT(dataset.train, SizeIs(2));
  ASSERT_THAT(dataset.test, SizeIs(1));
  EXPECT_EQ(dataset.test[0].concept_name, "bar");
  EXPECT_TRUE(dataset.test[0].held_out);
  EXPECT_EQ(dataset.train[1].domain, 1);
  const Dataset concepts = open_emoji_dg(root() / "out", EmojiTask::kConcepts);
  EXPECT_THAT(concepts.classes, ElementsAre("disc", "bar", "ring"));
  EXPECT_THAT(concepts.train, SizeIs(3));
  const Image disc = read_image(dataset.path_of(dataset.train[0]));
  EXPECT_EQ(disc.width, 16);
  EXPECT_EQ(disc.rgb[(8 * 16 + 8) * 3], 255);
  EXPECT_EQ(disc.rgb[(8 * 16 + 8) * 3 + 1], 0);
  EXPECT_EQ(disc.rgb[1], 255);  // the ground is white
  const Image bar = read_image(dataset.path_of(dataset.test[0]));
  EXPECT_EQ(bar.rgb[(8 * 16 + 2) * 3], 255);  // the view box begins at its left edge
  EXPECT_EQ(bar.rgb[(8 * 16 + 12) * 3], 0);   // currentColor is black
}

TEST_F(EmojiDg, SaysWhatIsMissing) {
  EXPECT_THAT(error_of([&] { open_emoji_dg(root() / "out", EmojiTask::kSubgroups); }),
              HasSubstr("attune data render emoji-dg"));
  std::filesystem::remove_all(root() / "node_modules/@iconify-json/fluent-flat");
  EXPECT_THAT(error_of([&] { render(); }), HasSubstr("fluent-flat/icons.json"));
  EXPECT_FALSE(std::filesystem::exists(root() / "out/index.json"));
  EXPECT_THROW(render_emoji_dg(root() / "lists.json", root(), root() / "out", 0), UsageError);
}

TEST_F(EmojiDg, ABrokenIndexIsAnError) {
  render();
  const auto file = root() / "out/index.json";
  const std::string whole = read_file(file);
  for (std::size_t length = 0; length + 2 < whole.size(); length += 97) {
    write_file(file, std::string_view(whole).substr(0, length));
    EXPECT_THROW(open_emoji_dg(root() / "out", EmojiTask::kConcepts), Error);
  }
  Json index = parse_json(whole, "index");
  index["pictures"][0]["path"] = "../../x.png";
  write_json(file, index);
  EXPECT_THAT(error_of([&] { open_emoji_dg(root() / "out", EmojiTask::kConcepts); }), HasSubstr("inside"));
  index["pictures"][0]["concept"] = 3;
  write_json(file, index);
  EXPECT_THAT(error_of([&] { open_emoji_dg(root() / "out", EmojiTask::kConcepts); }), HasSubstr("found concept 3"));
}

TEST(IconSet, ErrorsNameTheIcon) {
  const IconSet set(kVendorIcons, "noto");
  EXPECT_THAT(set.svg("round", 8), HasSubstr("<circle"));
  EXPECT_THAT(set.svg("bar", 8), HasSubstr("viewBox=\"10 0 20 20\""));
  EXPECT_THAT(error_of([&] { set.svg("none", 8); }), HasSubstr("\"none\""));
  EXPECT_THAT(error_of([&] { set.svg("turned", 8); }), HasSubstr("turns"));
  EXPECT_THAT(error_of([&] { set.svg("loop", 8); }), HasSubstr("without end"));
  EXPECT_THROW(IconSet("{}", "noto"), Error);
  EXPECT_THROW(IconSet("{\"icons\": []}", "noto"), Error);
}

TEST(PixelFloor, CountsNearestNeighboursOfOtherConcepts) {
  const TemporaryFolder folder;
  Dataset dataset;
  dataset.root = folder.path();
  const auto add = [&](const std::string& name, unsigned seed, std::int64_t label, const std::string& concept_name) {
    write_picture(folder.path() / name, seed, 32);
    Sample sample;
    sample.path = name;
    sample.label = label;
    sample.concept_name = concept_name;
    return sample;
  };
  const std::vector<Sample> gallery = {add("a.png", 1, 0, "one"), add("b.png", 2, 1, "two")};
  const std::vector<Sample> queries = {add("c.png", 1, 0, "one"), add("d.png", 2, 0, "two")};
  const PixelFloor floor = PixelGallery(dataset, gallery).floor(dataset, queries, false);
  EXPECT_EQ(floor.pictures, 2);
  EXPECT_EQ(floor.right, 1);
  // Without their own concept, "one" is taken for "two" (label 1) and "two" for "one" (label 0, which is right).
  EXPECT_EQ(PixelGallery(dataset, gallery).floor(dataset, queries, true).right, 1);
  EXPECT_THROW(PixelGallery(dataset, {}), UsageError);
  EXPECT_THROW(PixelGallery(dataset, gallery).floor(dataset, {}, false), UsageError);
  EXPECT_THROW(PixelGallery(dataset, {gallery[0]}).floor(dataset, std::span(queries).first(1), true), UsageError);
}

TEST(PixelFloor, FeaturesAreCentredAndOfUnitLength) {
  const std::vector<float> feature = pixel_feature(test_image(40, 30, 3));
  ASSERT_EQ(feature.size(), 768U);
  double sum = 0, square = 0;
  for (const float value : feature) {
    sum += value;
    square += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(sum, 0, 1e-3);
  EXPECT_NEAR(square, 1, 1e-5);
  EXPECT_EQ(pixel_feature(Image{1, 1, {9, 9, 9}}), std::vector<float>(768, 0.0F));
}

TEST(EmojiDgSlow, TheWholeBenchmarkRendersAndHasItsFloors) {
  const std::filesystem::path icons = cache_folder() / "icons";
  if (!std::filesystem::exists(icons)) GTEST_SKIP() << "the icon sets are not installed; scripts/setup does that";
  const TemporaryFolder folder;
  render_emoji_dg(std::filesystem::path(ATTUNE_SOURCE_DIR) / "models/pocket/emoji_dg.json", icons, folder.path());
  const Dataset concepts = open_emoji_dg(folder.path(), EmojiTask::kConcepts);
  EXPECT_EQ(concepts.classes.size(), 650U);
  EXPECT_EQ(concepts.train.size() + concepts.test.size(), 7U * 650);
  const Dataset dataset = open_emoji_dg(folder.path(), EmojiTask::kSubgroups);
  EXPECT_EQ(dataset.classes.size(), 41U);
  const std::vector<Sample> sources = keep_domains(dataset, {"noto", "twemoji", "emojione"}).train;
  const Dataset unseen = keep_domains(dataset, {"fluent"});
  const PixelGallery known(dataset, sources);
  const PixelFloor seen = known.floor(dataset, unseen.train, true);
  const PixelFloor held_out = known.floor(dataset, unseen.test, true);
  EXPECT_NEAR(seen.accuracy(), 0.163, 0.005);
  EXPECT_NEAR(held_out.accuracy(), 0.123, 0.005);
}

}  // namespace
}  // namespace attune

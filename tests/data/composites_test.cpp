#include "attune/data/composites.h"

#include <cmath>

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/images/decode.h"
#include "tests/data/support.h"
#include "tests/support/mutations.h"

namespace attune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kIcons = R"({"prefix": "a", "width": 10, "height": 10, "icons": {
  "disc": {"body": "<circle cx='5' cy='5' r='4' fill='#ff0000'/>"},
  "bar": {"body": "<path fill='#0000ff' d='M0 4h10v2H0z'/>"}, "empty": {"body": ""}}})";

constexpr const char* kLists = R"({"version": 1, "subgroups": [],
  "domains": {"one": ["a", "a-flat"], "two": ["b"]},
  "concepts": [{"code": "1", "name": "disc", "subgroup": "s", "held_out": false},
               {"code": "2", "name": "bar", "subgroup": "s", "held_out": true},
               {"code": "3", "name": "ring", "subgroup": "s", "held_out": true}],
  "icons": {"a": {"1": "disc", "2": "bar"}, "a-flat": {"1": "disc"}, "b": {"1": "disc", "3": "empty"}}})";

class Composites : public ::testing::Test {
 protected:
  Composites() {
    for (const char* set : {"a", "a-flat", "b"}) write_file(root() / set / "icons.json", kIcons);
    write_file(root() / "lists.json", kLists);
  }
  std::filesystem::path root() const { return folder_.path(); }
  Drawings render(const DrawingChoice& choice) const {
    return render_drawings(root() / "lists.json", root(), choice, 64, 2);
  }
  Drawings usual() const {
    DrawingChoice choice;
    choice.sets = {"one"};
    choice.names = {"disc", "bar"};
    return render(choice);
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(Composites, ChoicesAreByVendorConceptAndName) {
  const Drawings both = usual();
  EXPECT_THAT(both.categories, ElementsAre("disc", "bar"));
  EXPECT_THAT(both.codes, ElementsAre("1", "2"));
  ASSERT_THAT(both.drawings, SizeIs(3));  // a-flat has no bar
  EXPECT_EQ(both.drawings[2].set, "a-flat");
  const Drawing& bar = both.drawings[1];
  EXPECT_EQ(bar.category, 1);
  EXPECT_EQ(bar.colour.width, 64);  // cut to what is visible
  EXPECT_LE(bar.colour.height, 15);
  DrawingChoice held;
  held.sets = {"a"};
  held.concepts = concepts_named("held-out");
  EXPECT_THAT(render(held).categories, ElementsAre("bar", "ring"));
  DrawingChoice few;
  few.sets = {"a", "one"};
  few.categories = 1;
  const Drawings chosen = render(few);
  EXPECT_THAT(chosen.categories, SizeIs(1));
  EXPECT_EQ(render(few).categories, chosen.categories);
}

TEST_F(Composites, ChoicesThatCannotBeMetAreErrors) {
  const auto message = [&](const DrawingChoice& choice) { return error_of([&] { render(choice); }); };
  DrawingChoice choice;
  choice.sets = {"three"};
  EXPECT_THAT(message(choice), HasSubstr("\"three\""));
  choice.sets = {"a"};
  choice.names = {"ring", "square"};
  EXPECT_THAT(message(choice), HasSubstr("\"square\""));
  choice.names = {"ring"};
  EXPECT_THAT(message(choice), HasSubstr("found none"));
  choice.names = {};
  choice.categories = 4;
  EXPECT_THAT(message(choice), HasSubstr("0 to 3"));
  choice.categories = 0;
  choice.sets = {"b"};
  EXPECT_THAT(message(choice), HasSubstr("b:empty: expected a drawing, found nothing visible"));
  EXPECT_THROW(concepts_named("unseen"), UsageError);
}

TEST_F(Composites, DamagedListsAreReadOrRefusedWithAnError) {
  const Json good = parse_json(kLists, "lists");
  DrawingChoice choice;
  choice.sets = {"a"};
  choice.names = {"disc", "bar"};
  const int refused = refusals(100, [&](KeyedRandom& random) {
    write_json(root() / "lists.json", damaged(good, random));
    render(choice);
  });
  EXPECT_GT(refused, 10);
}

TEST_F(Composites, WhatListsLackIsNamed) {
  const auto message = [](const std::string& text) {
    return error_of([&] { parse_drawing_lists(text, "lists.json"); });
  };
  EXPECT_THAT(message("[]"), HasSubstr("lists.json: expected an object"));
  EXPECT_THAT(message(R"({"domains": {}, "icons": {}})"), HasSubstr("\"concepts\" to be a list"));
  EXPECT_THAT(message(R"({"concepts": [], "domains": [], "icons": {}})"), HasSubstr("\"domains\" to be an object"));
  EXPECT_THAT(message(R"({"concepts": [], "domains": {"one": ["a"]}, "icons": {"b": {}}})"), HasSubstr("\"a\""));
  EXPECT_THAT(message(R"({"concepts": [], "domains": {}, "icons": {"a": {"1": 2}}})"), HasSubstr("icons"));
  EXPECT_THAT(message(R"({"concepts": [{"code": "1", "held_out": true}], "domains": {}, "icons": {}})"),
              HasSubstr("concepts[0]"));
}

TEST_F(Composites, AMaskIsWhereTheDrawingIsSeen) {
  const Drawings drawings = usual();
  CompositeSettings settings;
  settings.size = 96;
  settings.most = 6;
  settings.overlap = 0.3;
  bool covered = false;
  for (std::uint64_t index = 0; index < 40; ++index) {
    const Composite scene = compose(drawings, settings, 5, index);
    ASSERT_FALSE(scene.objects.empty());
    std::vector<int> owners(96 * 96);
    for (const PlacedDrawing& object : scene.objects) {
      EXPECT_EQ(object.box, box_around(object.mask));
      EXPECT_LE(object.box.x + object.box.width, 96);
      const bool red = object.category == 0;
      const std::vector<std::uint8_t> inside = pixels_of(object.mask);
      for (std::size_t i = 0; i < inside.size(); ++i) {
        if (inside[i] == 0) continue;
        ++owners[i];
        // Half of an edge pixel may be ground, whose colours are at least 120.
        const std::uint8_t* pixel = &scene.image.rgb[3 * i];
        EXPECT_GT(pixel[red ? 0 : 2], 120);
        EXPECT_LT(pixel[red ? 2 : 0], 135);
      }
      // A disc fills pi / 4 of its box, a bar all of it.
      const double share = static_cast<double>(object.mask.area()) / object.box.area();
      covered = covered || share < (red ? 0.7 : 0.9);
      if (scene.objects.size() == 1) EXPECT_NEAR(share, red ? M_PI / 4 : 1.0, 0.06);
    }
    EXPECT_LE(*std::max_element(owners.begin(), owners.end()), 1);
  }
  EXPECT_TRUE(covered);  // some drawing lies over another
}

TEST_F(Composites, ASceneDependsOnSeedAndIndexAlone) {
  const Drawings drawings = usual();
  const CompositeSettings settings;
  const Composite first = compose(drawings, settings, 5, 7);
  compose(drawings, settings, 5, 8);
  const Composite again = compose(drawings, settings, 5, 7);
  EXPECT_EQ(first.image, again.image);
  ASSERT_EQ(first.objects.size(), again.objects.size());
  for (std::size_t i = 0; i < first.objects.size(); ++i) EXPECT_EQ(first.objects[i].mask, again.objects[i].mask);
  EXPECT_NE(first.image, compose(drawings, settings, 5, 8).image);
  EXPECT_NE(first.image, compose(drawings, settings, 6, 7).image);
}

TEST_F(Composites, SettingsThatMakeNoSceneAreErrors) {
  const Drawings drawings = usual();
  for (const auto& change : std::vector<std::function<void(CompositeSettings&)>>{
           [](auto& s) { s.size = 8; }, [](auto& s) { s.least = 0; }, [](auto& s) { s.most = 0; },
           [](auto& s) { s.smallest = 0; }, [](auto& s) { s.largest = 1.5; }, [](auto& s) { s.overlap = -1; }}) {
    CompositeSettings settings;
    change(settings);
    EXPECT_THROW(compose(drawings, settings, 1, 0), UsageError);
  }
  EXPECT_THROW(compose(Drawings{}, {}, 1, 0), UsageError);
  EXPECT_THROW(composite_index("all", 0), UsageError);
}

TEST_F(Composites, TheFolderIsReadAsCoco) {
  const Drawings drawings = usual();
  CompositeSettings settings;
  settings.size = 64;
  write_composites(root() / "out", drawings, settings, {4, 0, 3}, 9);
  const BoxDataset data = open_boxes(root() / "out", /*masks=*/true);
  EXPECT_THAT(data.category_names(), ElementsAre("disc", "bar"));
  ASSERT_THAT(data.train, SizeIs(4));
  ASSERT_THAT(data.test, SizeIs(3));
  for (std::int64_t i = 0; i < 3; ++i) {
    const BoxPicture& picture = data.test[static_cast<std::size_t>(i)];
    const Composite scene = compose(drawings, settings, 9, composite_index("test", i));
    EXPECT_EQ(read_image(data.root / picture.path), scene.image);
    ASSERT_EQ(picture.labels.size(), scene.objects.size());
    for (std::size_t j = 0; j < scene.objects.size(); ++j) {
      EXPECT_EQ(picture.labels[j].box, scene.objects[j].box);
      EXPECT_EQ(picture.labels[j].category, scene.objects[j].category);
      EXPECT_EQ(picture.labels[j].area, static_cast<double>(scene.objects[j].mask.area()));
      EXPECT_EQ(picture.labels[j].mask, scene.objects[j].mask);
    }
  }
  EXPECT_THROW(write_composites(root() / "no", drawings, settings, {-1, 0, 0}, 9), UsageError);
}

}  // namespace
}  // namespace attune

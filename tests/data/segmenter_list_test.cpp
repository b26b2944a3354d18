#include <set>

#include <gmock/gmock.h>

#include "attune/base/files.h"
#include "attune/base/json.h"

namespace attune {
namespace {

const std::string kModels = std::string(ATTUNE_SOURCE_DIR) + "/models/";

TEST(SegmenterList, IsOfSeenVendorsAndConceptsAlone) {
  // The list by which pocket-segmenter was trained is the detector's, bit for bit.
  const std::string text = read_file(kModels + "pocket-detector/drawings.json");
  const Json metrics = read_json(kModels + "pocket-segmenter/metrics.json");
  ASSERT_EQ(metrics["drawings_sha256"], sha256(text));

  const Json list = parse_json(text, "drawings.json"), held_out = read_json(kModels + "pocket/emoji_dg.json");
  std::set<std::string> sets, codes, names;
  for (const auto& [set, icons] : list["icons"].items()) {
    sets.insert(set);
    for (const auto& [code, icon] : icons.items()) codes.insert(code);
  }
  for (const Json& item : list["concepts"]) names.insert(item["name"].get<std::string>());
  EXPECT_THAT(sets, testing::IsSubsetOf({"noto", "twemoji", "emojione", "emojione-monotone"}));
  for (const Json& item : held_out["concepts"]) {
    if (!item["held_out"].get<bool>()) continue;
    EXPECT_FALSE(codes.contains(item["code"].get<std::string>())) << item["name"];
    EXPECT_FALSE(names.contains(item["name"].get<std::string>())) << item["name"];
  }
}

}  // namespace
}  // namespace attune

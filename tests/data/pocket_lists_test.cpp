#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>
#include <zlib.h>

#include <gmock/gmock.h>

#include "attune/base/json.h"

namespace attune {
namespace {

const std::string kPocket = std::string(ATTUNE_SOURCE_DIR) + "/models/pocket";

std::vector<Json> trained_drawings() {
  gzFile file = ::gzopen((kPocket + "/drawings.jsonl.gz").c_str(), "rb");
  EXPECT_NE(file, nullptr);
  std::vector<Json> drawings;
  std::string line;
  char buffer[1 << 16];
  while (::gzgets(file, buffer, sizeof buffer) != nullptr) {
    line += buffer;
    if (line.back() != '\n') continue;
    drawings.push_back(parse_json(line, "drawings.jsonl.gz"));
    line.clear();
  }
  ::gzclose(file);
  return drawings;
}

/// " a b c " of the letters in a text, so that whole words can be looked for.
std::string plain(const std::string& text) {
  std::string words = " ";
  for (const char c : text) {
    if (c == '\'') continue;
    const auto letter = static_cast<unsigned char>(c);
    const char next = std::isalpha(letter) != 0 ? static_cast<char>(std::tolower(letter)) : ' ';
    if (next != ' ' || words.back() != ' ') words += next;
  }
  if (words.back() != ' ') words += ' ';
  return words;
}

/// Runs of words to look for. A text is walked once, however many runs there are.
class WordRuns {
 public:
  /// Each name as whole words, in singular and with a plural ending.
  explicit WordRuns(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const std::string words = plain(name);
      EXPECT_GT(words.size(), 2u) << "no letters in the name \"" << name << '"';
      for (const char* ending : {"", "s", "es"}) runs_.insert(words.substr(0, words.size() - 1) + ending + " ");
      longest_ = std::max(longest_, std::count(words.begin(), words.end(), ' ') - 1);
    }
  }

  /// Whether some run stands in a text, at whole words.
  bool any_in(const std::string& text) const {
    const std::string words = plain(text);
    for (std::size_t start = 0; start + 1 < words.size(); start = words.find(' ', start + 1)) {
      std::size_t end = start;
      for (std::ptrdiff_t length = 1; length <= longest_ && end + 1 < words.size(); ++length) {
        end = words.find(' ', end + 1);
        if (runs_.contains(words.substr(start, end + 1 - start))) return true;
      }
    }
    return false;
  }

 private:
  std::unordered_set<std::string> runs_;
  std::ptrdiff_t longest_ = 0;
};

TEST(PocketLists, WordRunsAreFoundAtWholeWordsOnly) {
  const WordRuns runs({"cat", "Ice-cream"});
  for (const char* text : {"cat", "a black cat", "Cats!", "cat2 here", "soft ice creams", "ice cream"}) {
    EXPECT_TRUE(runs.any_in(text)) << text;
  }
  for (const char* text : {"", "7", "category", "bobcat", "ice", "cream ice", "ice with cream"}) {
    EXPECT_FALSE(runs.any_in(text)) << text;
  }
}

TEST(PocketLists, NothingHeldOutIsAmongTheTrainedDrawings) {
  const Json held = read_json(kPocket + "/held_out.json");
  const auto strict = json_at<std::vector<std::string>>(held, "banned_names", "held_out.json");
  auto loose = json_at<std::vector<std::string>>(held, "banned_names_icons", "held_out.json");
  loose.insert(loose.end(), strict.begin(), strict.end());
  const WordRuns strict_runs(strict), loose_runs(loose);
  const auto families = json_at<std::vector<std::string>>(held, "families", "held_out.json");
  const std::vector<Json> drawings = trained_drawings();
  ASSERT_GT(drawings.size(), 10000u);
  for (const Json& drawing : drawings) {
    const std::string set = json_at<std::string>(drawing, "set", "drawing");
    for (const std::string& family : families) EXPECT_EQ(set.find(family), std::string::npos) << drawing.dump();
    if (drawing.contains("concept")) {
      EXPECT_FALSE(held["concepts"].contains(json_at<std::string>(drawing, "concept", "drawing"))) << drawing.dump();
    }
    const bool emoji = drawing["kind"] == "emoji";
    for (const std::string& name : json_at<std::vector<std::string>>(drawing, "names", "drawing")) {
      EXPECT_FALSE((emoji ? strict_runs : loose_runs).any_in(name)) << drawing.dump();
    }
    if (drawing.contains("tags")) {
      for (const std::string& tag : json_at<std::vector<std::string>>(drawing, "tags", "drawing")) {
        EXPECT_FALSE(loose_runs.any_in(tag)) << tag << " in " << drawing.dump();
      }
    }
  }
}

/// What the detector that ships was trained on.
TEST(PocketLists, TheDetectorSawNothingHeldOutAndNothingNew) {
  const Json held = read_json(kPocket + "/held_out.json");
  const WordRuns banned(json_at<std::vector<std::string>>(held, "banned_names", "held_out.json"));
  const auto families = json_at<std::vector<std::string>>(held, "families", "held_out.json");
  std::set<std::string> known;
  for (const Json& drawing : trained_drawings()) {
    known.insert(json_at<std::string>(drawing, "set", "drawing") + ":" +
                 json_at<std::string>(drawing, "icon", "drawing"));
  }
  const Json list = read_json(std::string(ATTUNE_SOURCE_DIR) + "/models/pocket-detector/drawings.json");
  EXPECT_GT(list["concepts"].size(), 1000u);
  for (const Json& one : list["concepts"]) {
    EXPECT_FALSE(held["concepts"].contains(json_at<std::string>(one, "code", "concept"))) << one.dump();
    EXPECT_FALSE(banned.any_in(json_at<std::string>(one, "name", "concept"))) << one.dump();
  }
  for (const auto& [set, icons] : list["icons"].items()) {
    for (const std::string& family : families) EXPECT_EQ(set.find(family), std::string::npos) << set;
    for (const auto& [code, icon] : icons.items()) {
      EXPECT_TRUE(known.contains(set + ":" + icon.get<std::string>())) << set << ":" << icon;
      EXPECT_FALSE(held["concepts"].contains(code)) << set << ":" << icon;
    }
  }
}

TEST(PocketLists, TheBenchmarkAgreesWithTheHeldOutList) {
  const Json held = read_json(kPocket + "/held_out.json");
  const Json benchmark = read_json(kPocket + "/emoji_dg.json");
  std::set<std::string> subgroups;
  std::int64_t held_out = 0;
  for (const Json& one : benchmark["concepts"]) {
    const std::string code = json_at<std::string>(one, "code", "concept");
    EXPECT_EQ(json_at<bool>(one, "held_out", code), held["concepts"].contains(code)) << code;
    held_out += json_at<bool>(one, "held_out", code) ? 1 : 0;
    for (const auto& [set, icons] : benchmark["icons"].items()) {
      if (set != "emojione-monotone" && set != "fluent-emoji-high-contrast")
        EXPECT_TRUE(icons.contains(code)) << set << " " << code;
    }
  }
  EXPECT_EQ(benchmark["concepts"].size(), 650u);
  EXPECT_EQ(benchmark["subgroups"].size(), 41u);
  EXPECT_EQ(held_out, 197);
}

// sketch, the diffusion model that ships, learned from drawings of the benchmark: DOMAIN/SET/SUBGROUP/CODE.png.
TEST(SketchLists, EveryDrawingIsOneOfPocketsAndNoneIsHeldOut) {
  const std::string folder = std::string(ATTUNE_SOURCE_DIR) + "/models/sketch";
  const Json list = read_json(folder + "/drawings.json"), held = read_json(kPocket + "/held_out.json");
  std::set<std::string> known;
  for (const Json& drawing : trained_drawings()) {
    if (!drawing.contains("concept")) continue;
    known.insert(json_at<std::string>(drawing, "set", "drawing") + "/" +
                 json_at<std::string>(drawing, "concept", "drawing"));
  }
  ASSERT_EQ(list["pictures"].size(), 453u);
  for (const Json& one : list["pictures"]) {
    const std::filesystem::path path = json_at<std::string>(one, "path", "drawings.json");
    const std::string code = path.stem().string(), set = path.parent_path().parent_path().filename().string();
    EXPECT_EQ(set, "twemoji") << path;
    EXPECT_FALSE(held["concepts"].contains(code)) << path;
    EXPECT_TRUE(known.contains(set + "/" + code)) << path;
  }
}

}  // namespace
}  // namespace attune

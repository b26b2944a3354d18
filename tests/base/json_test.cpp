#include "attune/base/json.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;

TEST(Json, KeepsTheOrderOfKeys) {
  EXPECT_EQ(parse_json(R"({"b": 1, "a": 2})", "t").dump(), R"({"b":1,"a":2})");
}

TEST(Json, ErrorsNameTheSource) {
  for (const std::string text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "\"\xFF\"", "1 2", "{\"a\": 1e999}"}) {
    EXPECT_THAT([&] { parse_json(text, "settings.json"); }, ThrowsMessage<Error>(StartsWith("settings.json: ")))
        << text;
  }
}

TEST(Json, RefusesDeepNestingOnly) {
  EXPECT_NO_THROW(parse_json(std::string(64, '[') + std::string(64, ']'), "t"));
  EXPECT_THAT([] { parse_json(std::string(65, '[') + std::string(65, ']'), "t"); },
              ThrowsMessage<Error>(HasSubstr("64 deep")));
  EXPECT_THROW(parse_json(std::string(1000000, '['), "t"), Error);
  EXPECT_NO_THROW(parse_json("\"\\\"" + std::string(100, '[') + "\"", "t"));
}

TEST(Json, FilesRoundTrip) {
  const TemporaryFolder folder;
  const Json value = Json::parse(R"({"a": [1, 2.5, "x", null, true]})");
  write_json(folder.path() / "a.json", value);
  EXPECT_EQ(read_json(folder.path() / "a.json"), value);
  EXPECT_EQ(read_file(folder.path() / "a.json").back(), '\n');
  EXPECT_THROW(read_json(folder.path() / "a.json", 5), Error);
  EXPECT_THAT([&] { read_json(folder.path() / "b.json"); }, ThrowsMessage<Error>(HasSubstr("b.json")));
}

TEST(JsonAt, GivesMembersOfTheRightType) {
  const Json object = Json::parse(R"({"s": "x", "i": 3, "d": 2.5, "b": true, "l": ["a"], "n": null})");
  EXPECT_EQ(json_at<std::string>(object, "s", "t"), "x");
  EXPECT_EQ(json_at<std::int64_t>(object, "i", "t"), 3);
  EXPECT_DOUBLE_EQ(json_at<double>(object, "i", "t"), 3.0);
  EXPECT_TRUE(json_at<bool>(object, "b", "t"));
  EXPECT_EQ(json_at<std::vector<std::string>>(object, "l", "t"), std::vector<std::string>{"a"});
  EXPECT_EQ(json_or<std::int64_t>(object, "n", 9, "t"), 9);
  EXPECT_EQ(json_or<std::int64_t>(object, "missing", 9, "t"), 9);
  EXPECT_EQ(json_or<std::int64_t>(object, "i", 9, "t"), 3);
}

TEST(JsonAt, ErrorsNameWhereKeyAndType) {
  const Json object = Json::parse(R"({"s": "x", "d": 2.5, "l": ["a", 1]})");
  EXPECT_THAT([&] { json_at<std::int64_t>(object, "s", "c.json"); },
              ThrowsMessage<Error>(AllOf(StartsWith("c.json: "), HasSubstr("\"s\" to be an integer, found \"x\""))));
  EXPECT_THAT([&] { json_at<std::int64_t>(object, "d", "c.json"); }, ThrowsMessage<Error>(HasSubstr("found 2.5")));
  EXPECT_THAT([&] { json_at<std::string>(object, "q", "c.json"); }, ThrowsMessage<Error>(HasSubstr("\"q\", which")));
  EXPECT_THAT([&] { json_at<std::vector<std::string>>(object, "l", "c.json"); },
              ThrowsMessage<Error>(HasSubstr("a list of strings")));
  EXPECT_THAT([] { json_or<std::string>(Json(3), "q", "", "c.json"); }, ThrowsMessage<Error>(HasSubstr("an object")));
}

}  // namespace
}  // namespace attune

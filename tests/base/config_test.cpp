#include "attune/base/config.h"

#include <cmath>
#include <limits>
#include <string>

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

Json yaml(std::string_view text) {
  return parse_yaml(text, "recipe.yaml");
}

template <class Matcher>
void expect_refused(std::string_view text, Matcher matcher) {
  EXPECT_THAT([&] { yaml(text); }, ThrowsMessage<Error>(matcher)) << text.substr(0, 80);
}

TEST(Yaml, TypesPlainScalarsByTheCoreSchema) {
  const Json found = yaml(
      "a: 1\nb: -12\nc: +7\nd: 0o17\ne: 0xfF\nf: 1.5\ng: .5\nh: 2.\ni: 1e-3\nj: true\nk: False\nl: null\nm: ~\nn:\n"
      "o: yes\np: 1_000\nq: 0b1\nr: 1e\ns: '12'\nt: \"true\"\nu: .inf\nv: -.inf\np2: 1:30\nx: 012\n");
  EXPECT_EQ(found["a"], Json(1));
  EXPECT_TRUE(found["a"].is_number_integer());
  EXPECT_EQ(found["b"], Json(-12));
  EXPECT_EQ(found["c"], Json(7));
  EXPECT_EQ(found["d"], Json(15));
  EXPECT_EQ(found["e"], Json(255));
  EXPECT_EQ(found["f"], Json(1.5));
  EXPECT_EQ(found["g"], Json(0.5));
  EXPECT_TRUE(found["h"].is_number_float());
  EXPECT_EQ(found["i"], Json(1e-3));
  EXPECT_EQ(found["j"], Json(true));
  EXPECT_EQ(found["k"], Json(false));
  EXPECT_TRUE(found["l"].is_null());
  EXPECT_TRUE(found["m"].is_null());
  EXPECT_TRUE(found["n"].is_null());
  EXPECT_EQ(found["o"], Json("yes"));
  EXPECT_EQ(found["p"], Json("1_000"));
  EXPECT_EQ(found["q"], Json("0b1"));
  EXPECT_EQ(found["r"], Json("1e"));
  EXPECT_EQ(found["s"], Json("12"));
  EXPECT_EQ(found["t"], Json("true"));
  EXPECT_EQ(found["u"], Json(std::numeric_limits<double>::infinity()));
  EXPECT_EQ(found["v"], Json(-std::numeric_limits<double>::infinity()));
  EXPECT_EQ(found["p2"], Json("1:30"));
  EXPECT_EQ(found["x"], Json(12));
}

TEST(Yaml, ReadsNestedListsMapsAndBlockTexts) {
  EXPECT_EQ(yaml("a:\n  - [1, {b: c}]\n  - |\n    two\n    lines\n"),
            Json::parse(R"({"a": [[1, {"b": "c"}], "two\nlines\n"]})"));
  EXPECT_TRUE(yaml("").is_null());
  EXPECT_TRUE(yaml("# only a comment\n").is_null());
  EXPECT_EQ(yaml("\xEF\xBB\xBF"
                 "a: \xC3\xA9"),
            Json::parse("{\"a\": \"\xC3\xA9\"}"));
}

TEST(Yaml, CopiesAliases) {
  EXPECT_EQ(yaml("a: &x [1, 2]\nb: *x\nc: &y text\nd: *y\n"),
            Json::parse(R"({"a": [1, 2], "b": [1, 2], "c": "text", "d": "text"})"));
}

TEST(Yaml, NamesSourceLineAndColumn) {
  expect_refused("a: 1\nb: [1, 2\n", StartsWith("recipe.yaml:"));
  expect_refused("a: 1\na: 2\n", AllOf(StartsWith("recipe.yaml:2:1: "), HasSubstr("\"a\" again")));
  expect_refused("a: 1\nb: 99999999999999999999\n", AllOf(StartsWith("recipe.yaml:2:4: "), HasSubstr("64 bits")));
}

TEST(Yaml, RefusesWhatARecipeNeverNeeds) {
  expect_refused("a: !!python/object:os.system x", HasSubstr("tag"));
  expect_refused("a: !custom 1", HasSubstr("tag"));
  expect_refused("a: &x [*x]", HasSubstr("refers to itself"));
  expect_refused("a: *missing", HasSubstr("recipe.yaml:1"));
  expect_refused("? [a, b]\n: 1\n", HasSubstr("key"));
  expect_refused("base: &b {a: 1}\nc: {<<: *b}\n", HasSubstr("merge keys"));
  expect_refused("a: 1\n---\nb: 2\n", HasSubstr("one YAML document"));
  expect_refused("a: \xFF\xFE", HasSubstr("recipe.yaml"));
  expect_refused("a: 1e999", HasSubstr("64 bits"));
}

TEST(Yaml, BoundsDepthSizeAndAliases) {
  EXPECT_NO_THROW(yaml(std::string(32, '[') + std::string(32, ']')));
  expect_refused(std::string(33, '[') + std::string(33, ']'), HasSubstr("32 deep"));
  EXPECT_THROW(yaml(std::string(100000, '[')), Error);
  EXPECT_THROW(yaml(std::string(100000, '{')), Error);
  expect_refused(std::string((1 << 20) + 1, 'a'), HasSubstr("bytes"));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int j = 1; j < 10; ++j) bomb += ", " + last;
    bomb += "]\n";
  }
  expect_refused(bomb, HasSubstr("aliases"));
  std::string deep = "a0: &a0 [x]\n";
  for (int i = 1; i < 40; ++i) {
    deep += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  }
  expect_refused(deep, HasSubstr("32 deep"));
}

Schema schema() {
  return {{"epochs", 50, "how often"},
          {"optimiser.rate", 2e-3, "step", {"OPTIM.LR"}},
          {"context.length", 16, "words", {"TRAINER.COOP.N_CTX"}},
          {"context.words", "", "start"},
          {"augment", true, "views"},
          {"layers", Json::array(), "which"},
          {"limits", Json::object(), "by name"},
          {"shots", nullptr, "per class"}};
}

TEST(Config, KeepsDefaultsUntilAValueIsGiven) {
  Config config(schema());
  EXPECT_EQ(config.integer("epochs"), 50);
  EXPECT_FALSE(config.given("epochs"));
  config.set("epochs=3", "--set");
  EXPECT_EQ(config.integer("epochs"), 3);
  EXPECT_TRUE(config.given("epochs"));
  EXPECT_TRUE(config.flag("augment"));
  EXPECT_DOUBLE_EQ(config.number("optimiser.rate"), 2e-3);
  EXPECT_TRUE(config.has("shots"));
  EXPECT_FALSE(config.has("shot"));
}

TEST(Config, ReadsAMapBelowANameThatIsAnAlias) {
  Config config({{"context.length", 16, "tokens", {"context"}}});
  config.merge_yaml("context:\n  length: 4\n", "recipe");
  EXPECT_EQ(config.integer("context.length"), 4);
  config.merge_yaml("context: 8\n", "recipe");
  EXPECT_EQ(config.integer("context.length"), 8);
}

TEST(Config, AnIntegerOutOfItsRangeIsRefusedByItsKey) {
  Config config({{"tokens", 4, "of a prompt"}});
  EXPECT_EQ(config.integer("tokens", 4, 4), 4);
  const auto refused = [&](std::int64_t least, std::int64_t most) {
    try {
      config.integer("tokens", least, most);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused(1, 3), "tokens: expected 1 to 3, found 4");
  EXPECT_EQ(refused(5, 9), "tokens: expected 5 to 9, found 4");
}

TEST(Config, MergesNestedAndDottedYamlAndAliases) {
  Config config(schema());
  config.merge_yaml(
      "optimiser: {rate: 1}\ncontext:\n  words: a photo of a\nTRAINER: {COOP: {N_CTX: 4}}\nlayers: [1, 2]\n"
      "limits: {a: {b: 1}}\nshots: 16\n",
      "r.yaml");
  EXPECT_DOUBLE_EQ(config.number("optimiser.rate"), 1.0);
  EXPECT_TRUE(config.value("optimiser.rate").is_number_float());
  EXPECT_EQ(config.text("context.words"), "a photo of a");
  EXPECT_EQ(config.integer("context.length"), 4);
  EXPECT_EQ(config.integer("TRAINER.COOP.N_CTX"), 4);
  EXPECT_EQ(config.value("layers"), Json::parse("[1, 2]"));
  EXPECT_EQ(config.value("limits"), Json::parse(R"({"a": {"b": 1}})"));
  EXPECT_EQ(config.integer("shots"), 16);
  config.merge_yaml("context.length: 8", "r.yaml");
  EXPECT_EQ(config.integer("context.length"), 8);
  config.merge_yaml("", "empty.yaml");
  EXPECT_EQ(config.integer("context.length"), 8);
}

TEST(Config, AcceptsAnIntegerForANumberButNothingElse) {
  Config config(schema());
  config.set("optimiser.rate=1", "--set");
  EXPECT_DOUBLE_EQ(config.number("optimiser.rate"), 1.0);
  const auto refused = [&](std::string_view assignment, std::string_view expected) {
    EXPECT_THAT([&] { config.set(assignment, "--set"); },
                ThrowsMessage<UsageError>(AllOf(StartsWith("--set: "), HasSubstr(std::string(expected)))))
        << assignment;
  };
  refused("epochs=1.5", "an integer for epochs, found 1.5");
  refused("epochs=many", "an integer for epochs, found \"many\"");
  refused("epochs=", "an integer for epochs, found null");
  refused("augment=1", "true or false for augment");
  refused("context.words=12", "a text");
  refused("optimiser.rate=fast", "a number");
  refused("shots=[1, 2]", "a single value");
  refused("layers=1", "a list");
  refused("limits=1", "a map");
  refused("epochs", "key=value");
  refused("=3", "key=value");
  EXPECT_THROW(config.set("epochs=[", "--set"), UsageError);
}

TEST(Config, NamesTheNearestKeyAndTheSource) {
  Config config(schema());
  EXPECT_THAT([&] { config.set("epoch=3", "--set"); },
              ThrowsMessage<UsageError>("--set: expected a known key, found epoch; did you mean epochs?"));
  EXPECT_THAT(
      [&] { config.merge_yaml("context: {lenght: 3}", "my.yaml"); },
      ThrowsMessage<UsageError>("my.yaml: expected a known key, found context.lenght; did you mean context.length?"));
  EXPECT_THAT([&] { config.set("rate=3", "--set"); }, ThrowsMessage<UsageError>(HasSubstr("optimiser.rate")));
  EXPECT_THAT([&] { config.set("TRAINER.COOP.NCTX=3", "--set"); },
              ThrowsMessage<UsageError>(HasSubstr("TRAINER.COOP.N_CTX?")));
  EXPECT_THAT([&] { config.set("zzzzzzzzzz=3", "--set"); },
              ThrowsMessage<UsageError>("--set: expected a known key, found zzzzzzzzzz"));
}

TEST(Config, ChangesNothingWhenAMergeFails) {
  Config config(schema());
  EXPECT_THROW(config.merge_yaml("epochs: 3\nwrong: 4\n", "r.yaml"), UsageError);
  EXPECT_EQ(config.integer("epochs"), 50);
  EXPECT_FALSE(config.given("epochs"));
}

TEST(Config, RefusesMoreThanItCouldReadBack) {
  const std::string text(3000, 'a');
  std::string copies = "layers: [&a " + text;
  for (int i = 0; i < 100; ++i) copies += ", *a";
  Config config(schema());
  EXPECT_THAT([&] { config.merge_yaml(copies + "]\n", "r.yaml"); },
              ThrowsMessage<UsageError>(AllOf(StartsWith("r.yaml: "), HasSubstr("262144 bytes"))));
  EXPECT_FALSE(config.given("layers"));
  const std::string assignment = "context.words=" + std::string(262144, 'a');
  EXPECT_THAT([&] { config.set(assignment, "--set"); }, ThrowsMessage<UsageError>(StartsWith("--set: ")));
  EXPECT_FALSE(config.given("context.words"));
}

TEST(Config, RefusesAKeyGivenTwiceUnderTwoNames) {
  Config config(schema());
  EXPECT_THAT([&] { config.merge_yaml("context.length: 4\nTRAINER.COOP.N_CTX: 8\n", "r.yaml"); },
              ThrowsMessage<UsageError>(HasSubstr("context.length once")));
  EXPECT_THAT([&] { config.merge_yaml("[1, 2]", "r.yaml"); }, ThrowsMessage<UsageError>(HasSubstr("a map of keys")));
}

TEST(Config, ExtendsWithKeysThatAgree) {
  Config config(schema());
  config.set("epochs=3", "--set");
  config.extend({{"epochs", 50, "how often"}, {"prompts", 4, "how many"}});
  EXPECT_EQ(config.integer("epochs"), 3);
  EXPECT_EQ(config.integer("prompts"), 4);
  EXPECT_THAT([&] { config.extend({{"epochs", 60, "how often"}}); }, ThrowsMessage<Error>(HasSubstr("50 and 60")));
  EXPECT_THROW(config.extend({{"other", 1, "", {"epochs"}}}), Error);
}

TEST(Config, WritesYamlThatReadsBackTheSame) {
  Config config(schema());
  config.set("epochs", -3, "test");
  config.set("optimiser.rate", 1e-7, "test");
  config.set("layers", Json::parse(R"([1, 2.0, "on", "true", null, [0.1], {"a b": "c: d"}])"), "test");
  Json limits = Json::parse(R"({"x": {"y": []}})");
  // YAML reads a key of more than 1,024 characters only where it is announced.
  limits[std::string(2000, 'k')] = 1;
  limits[std::string(200, '\x04')] = Json::parse(R"({"": [{}]})");
  config.set("limits", limits, "test");
  for (const Json& any : {Json(3.0),
                          Json(3),
                          Json("3"),
                          Json("null"),
                          Json(nullptr),
                          Json(""),
                          Json("~"),
                          Json("a #b"),
                          Json("- x"),
                          Json("line\nbreak\ttab \"quote\" \\ \x01"),
                          Json("\xF0\x9F\x98\x80 \xC3\xA9"),
                          Json("a photo of a"),
                          Json("*x"),
                          Json("x/y.pt"),
                          Json("0x1F"),
                          Json(false),
                          Json(std::numeric_limits<double>::infinity()),
                          Json(0.1),
                          Json(1e300),
                          Json("a: b")}) {
    config.set("shots", any, "test");
    config.set("context.words", any.is_string() ? any : Json("x"), "test");
    Config again(schema());
    again.merge_yaml(config.to_yaml(), "again");
    EXPECT_EQ(again.to_json(), config.to_json()) << config.to_yaml();
    EXPECT_EQ(again.value("shots").type(), any.type()) << config.to_yaml();
  }
}

TEST(Config, TypedGettersNameTheKey) {
  Config config(schema());
  EXPECT_THAT([&] { config.integer("shots"); }, ThrowsMessage<UsageError>(HasSubstr("shots, found null")));
  config.set("shots=few", "--set");
  EXPECT_THAT([&] { config.integer("shots"); }, ThrowsMessage<UsageError>(HasSubstr("an integer for shots")));
  EXPECT_THROW(config.flag("epochs"), UsageError);
  EXPECT_THROW(config.text("epochs"), UsageError);
  EXPECT_THROW(config.number("augment"), UsageError);
}

TEST(Config, ReadsFiles) {
  const TemporaryFolder folder;
  write_file(folder.path() / "r.yaml", "epochs: 7\n");
  Config config(schema());
  config.merge_yaml_file(folder.path() / "r.yaml");
  EXPECT_EQ(config.integer("epochs"), 7);
  EXPECT_THAT([&] { config.merge_yaml_file(folder.path() / "missing.yaml"); },
              ThrowsMessage<Error>(HasSubstr("missing.yaml")));
}

TEST(Nearest, FindsWordsByEditDistance) {
  EXPECT_EQ(nearest("contxt", {"context", "content", "epochs"}), "context");
  EXPECT_EQ(nearest("epochs", {"context", "epochs"}), "epochs");
  EXPECT_EQ(nearest("completely different", {"context", "epochs"}), "");
  EXPECT_EQ(nearest("a", {"b"}), "");
  EXPECT_EQ(nearest("", {"ab"}), "");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace attune

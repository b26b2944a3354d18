#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "tests/cli/program.h"
#include "tests/support/drawn_domains.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_support::kSmallClip;

class ExplainVerb : public testing::Test {
 protected:
  Finished run(std::vector<std::string> words) const {
    words.insert(words.end(), {"--model", kSmallClip, "--threads", "1"});
    return run_attune(words, folder_.path());
  }
  /// The adapter of a short run.
  std::string learned(const std::string& name, const std::string& method) const {
    const Finished trained = run({"train", "--data", data_.string(), "--method", method, "--shots", "2", "--set",
                                  "epochs=1", "--set", "views.kind=centre", "--no-test", "--out", at(name)});
    EXPECT_EQ(trained.status, 0) << trained.err;
    return at(name + "/adapter");
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  TemporaryFolder folder_;
  std::filesystem::path data_ =
      draw_domains(folder_.path() / "data", {"art", "photo"}, {"dog", "elephant", "horse"}, 8);
};

TEST_F(ExplainVerb, ShowsWordsAndWhatATokenIsWorth) {
  const std::string adapter = learned("coop", "coop:context.init=a photo of a");
  const Finished text = run({"explain", "--adapter", adapter, "--words", "2"});
  ASSERT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("context, token 1"), HasSubstr("cosine"), Not(HasSubstr("accuracy"))));
  const Finished found =
      run({"explain", "--adapter", adapter, "--data", data_.string(), "--json", "--out", at("p.html")});
  ASSERT_EQ(found.status, 0) << found.err;
  const Json json = parse_json(found.out, "standard output");
  EXPECT_EQ(json["method"], "coop");
  const std::size_t tokens = json["tokens"].size();
  EXPECT_GE(tokens, 4u);
  EXPECT_EQ(json["removal"]["removed"].size(), tokens);
  EXPECT_THAT(read_file(at("p.html")), AllOf(HasSubstr("</html>"), HasSubstr("Without a token")));
}

TEST_F(ExplainVerb, AnAdapterBringsItsDescriptionsAlong) {
  write_file(at("texts.json"), R"({"dog": ["a dog has fur."], "horse": ["a horse is tall.", "it runs."]})");
  learned("dual", "dual_pt:prompts=2,context.length=2,cells.attention=values,descriptions=" + at("texts.json"));
  std::filesystem::remove(at("texts.json"));
  std::filesystem::create_directories(at("elsewhere"));
  std::filesystem::rename(at("dual/adapter"), at("elsewhere/adapter"));
  std::filesystem::remove_all(at("dual"));
  const Finished found =
      run({"explain", "--adapter", at("elsewhere/adapter"), "--data", data_.string(), "--json", "--no-removal"});
  ASSERT_EQ(found.status, 0) << found.err;
  const Json transport = parse_json(found.out, "standard output")["transport"];
  EXPECT_FALSE(transport.contains("no_descriptions"));
  EXPECT_THAT(transport.dump(), AllOf(HasSubstr("a dog has fur."), HasSubstr("it runs.")));
  const Finished measured =
      run({"eval", "--adapter", at("elsewhere/adapter"), "--data", data_.string(), "--split", "all", "--json"});
  EXPECT_EQ(measured.status, 0) << measured.err;
}

TEST_F(ExplainVerb, WrongUseIsSaid) {
  const Finished none = run({"explain", "--adapter", at("nothing")});
  EXPECT_NE(none.status, 0);
  EXPECT_THAT(none.err, HasSubstr("adapter_config.json"));
  const std::string adapter = learned("coop", "coop:context.length=2");
  EXPECT_EQ(run({"explain", "--adapter", adapter, "--words", "0"}).status, 2);
}

}  // namespace
}  // namespace attune

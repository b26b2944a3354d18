#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "tests/cli/program.h"
#include "tests/support/local_server.h"

namespace attune {
namespace {

using testing::HasSubstr;

const std::string kWordNet = std::string(ATTUNE_SOURCE_DIR) + "/tests/text/data/wordnet";

class DescribeVerb : public testing::Test {
 protected:
  Finished describe(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "describe");
    arguments.insert(arguments.end(), {"--out", out(), "--quiet"});
    return run_attune(arguments, folder_.path());
  }
  std::string out() const { return (folder_.path() / "descriptions.json").string(); }

  TemporaryFolder folder_;
};

TEST_F(DescribeVerb, WritesTextsFromWordNetAndKeepsWhatPeopleChanged) {
  write_json(out(), {{"bird", {"My own words."}}});
  const Finished run = describe({"--classes", "lamp,bird,zeppelin", "--from", "wordnet", "--wordnet", kWordNet});
  ASSERT_EQ(run.status, 0) << run.err;
  const Json written = read_json(out());
  EXPECT_EQ(written["bird"], Json::array({"My own words."}));
  EXPECT_EQ(written["lamp"][0], "A lamp is a thing that gives light.");
  EXPECT_EQ(read_json(out() + ".report.json")["without_texts"], Json::array({"zeppelin"}));
}

TEST_F(DescribeVerb, TheKeyComesFromTheEnvironmentAndIsWrittenNowhere) {
  const LocalServer server([](const std::string&, std::size_t) {
    return LocalServer::with("200 OK", R"({"choices":[{"message":{"content":"- two legs\n- a beak"}}]})");
  });
  ::setenv("DESCRIBE_TEST_KEY", "very-secret", 1);
  const Finished run = describe(
      {"--classes", "hen", "--endpoint", server.url(), "--style", "menon", "--key-variable", "DESCRIBE_TEST_KEY"});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(read_json(out())["hen"], Json::array({"two legs", "a beak"}));
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_THAT(server.requests()[0], HasSubstr("Bearer very-secret"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
    if (entry.is_regular_file())
      EXPECT_EQ(read_file(entry.path()).find("very-secret"), std::string::npos) << entry.path();
  }
}

TEST_F(DescribeVerb, WrongUsageIsSaid) {
  EXPECT_EQ(describe({"--from", "wordnet"}).status, 2);
  EXPECT_EQ(describe({"--classes", "hen"}).status, 2);
  EXPECT_EQ(describe({"--classes", "hen", "--endpoint", "http://127.0.0.1:1/v1", "--question", "no name"}).status, 2);
  EXPECT_EQ(describe({"--classes", "hen", "--from", "elsewhere"}).status, 2);
}

}  // namespace
}  // namespace attune

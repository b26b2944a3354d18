#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "tests/cli/program.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing_support::kSmallClip;

const std::string kTests = std::string(ATTUNE_SOURCE_DIR) + "/tests/";

TEST(ImportPromptsVerb, WritesAnAdapterThatTheModelReadsAndNeverOverwritesOne) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "adapter").string();
  const std::vector<std::string> command = {
      "model",    "import-prompts", kTests + "methods/data/import_maple.pth.tar", "--method", "maple", "--model",
      kSmallClip, "--classes",      "dog,cat on a mat,big photo,a b c,owl",       "--out",    out,     "--json"};
  const Finished run = run_attune(command, folder.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json said = parse_json(run.out, "import");
  EXPECT_EQ(said["epoch"], 5);
  EXPECT_TRUE(said["notes"].empty());
  const Finished info = run_attune({"model", "info", kSmallClip, "--adapter", out, "--json"}, folder.path());
  ASSERT_EQ(info.status, 0) << info.err;
  EXPECT_EQ(parse_json(info.out, "info")["adapter"]["learned_numbers"], said["learned_numbers"]);

  const Finished again = run_attune(command, folder.path());
  EXPECT_EQ(again.status, 2);
  EXPECT_THAT(again.err, HasSubstr("already holds an adapter"));
}

TEST(ImportPromptsVerb, RefusesAnotherMethodsFileAndMissingClassNames) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "adapter").string(), file = kTests + "methods/data/import_coop.pth.tar";
  const Finished other = run_attune(
      {"model", "import-prompts", file, "--method", "maple", "--model", kSmallClip, "--classes", "dog", "--out", out},
      folder.path());
  EXPECT_EQ(other.status, 1);
  EXPECT_THAT(other.err, HasSubstr("those of coop, kgcoop or prograd"));
  const Finished none = run_attune(
      {"model", "import-prompts", file, "--method", "coop", "--model", kSmallClip, "--out", out}, folder.path());
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.err, HasSubstr("--class-file"));
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace attune

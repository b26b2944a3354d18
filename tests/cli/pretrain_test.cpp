#include <gmock/gmock.h>

#include "tests/cli/program.h"
#include "tests/support/tiny_pack.h"

namespace attune {
namespace {

using testing::HasSubstr;

TEST(Pretrain, StopsOnRequestWithoutATerminalAndGoesOnWithTheSameBits) {
  const TemporaryFolder folder;
  const std::filesystem::path pack = folder.path() / "pack";
  write_tiny_pack(pack);
  const auto command = [&](const std::string& out, bool resume) {
    std::vector<std::string> words = {
        "pretrain", "clip", "--data", pack.string(), "--out", (folder.path() / out).string(), "--threads", "1"};
    if (resume) words.emplace_back("--resume");
    std::vector<std::string> values = tiny_pack_recipe(pack);
    values.emplace_back("text.samples=1200");
    for (const std::string& value : values) words.insert(words.end(), {"--set", value});
    return words;
  };
  const Finished whole = run_attune(command("whole", false), folder.path());
  ASSERT_EQ(whole.status, 0) << whole.err;

  const std::filesystem::path log = folder.path() / "run" / "metrics.jsonl";
  const auto begun = [&] {
    std::error_code none;
    return std::filesystem::file_size(log, none) > 0 && !none;
  };
  const Finished stopped = run_attune(command("run", false), folder.path(), {begun, SIGTERM});
  EXPECT_EQ(stopped.status, 130) << stopped.err;
  EXPECT_THAT(stopped.err, AllOf(HasSubstr("stopped"), HasSubstr("--resume")));

  const Finished resumed = run_attune(command("run", true), folder.path());
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(read_file(folder.path() / "run" / "model" / "model.safetensors"),
            read_file(folder.path() / "whole" / "model" / "model.safetensors"));
}

}  // namespace
}  // namespace attune

#include <map>
#include <set>
#include <sstream>

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "tests/cli/program.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::IsSupersetOf;

std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(parse_json(line, "bench"));
  return lines;
}

TEST(Bench, QuickMeasuresEveryPartOfPocketAgainstThePeak) {
  const TemporaryFolder folder;
  const Finished run = run_attune({"bench", "--quick", "--model", "pocket", "--json", "--threads", "1", "--rounds", "1",
                                   "--method", "coop", "--method", "zero_shot"},
                                  folder.path());
  ASSERT_EQ(run.status, 0) << run.err;
  std::set<std::string> seen;
  double peak = 0;
  for (const Json& line : lines_of(run.out)) {
    const auto part = line.at("part").get<std::string>();
    if (part == "machine") EXPECT_EQ(line.at("threads"), 1);
    if (part == "memory") {
      EXPECT_GT(line.at("model_mb"), 10);
      EXPECT_GE(line.at("peak_mb"), line.at("model_mb"));
    }
    if (part == "machine" || part == "memory") continue;
    seen.insert(part + " " + line.at("name").get<std::string>());
    if (line.contains("skipped")) continue;
    EXPECT_GT(line.at("rounds"), 0) << line;
    EXPECT_GT(line.at("gflop_per_second"), 0) << line;
    if (part == "peak") {
      peak = std::max(peak, line.at("gflop_per_second").get<double>());
      continue;
    }
    EXPECT_GT(line.at("ms"), 0) << line;
    EXPECT_GT(line.at("share_of_peak"), 0) << line;
    EXPECT_LE(line.at("share_of_peak"), 1.2) << line;
    EXPECT_LE(line.at("gflop_per_second"), 1.2 * peak) << line;
    if (part == "image_tower" || part == "text_tower") EXPECT_GT(line.at("items_per_second"), 0) << line;
  }
  EXPECT_THAT(seen, IsSupersetOf({"peak fp32", "peak bf16", "frozen_linear fc1 forward", "frozen_linear fc1 backward",
                                  "image_tower batch 1", "image_tower batch 8", "image_tower batch 32",
                                  "text_tower 100 prompts", "training_step coop", "training_step zero_shot"}));
}

/// Operations of a training step in 10^9.
double operations_of_a_step(const std::string& method, const char* classes) {
  const TemporaryFolder folder;
  const Finished run = run_attune({"bench", "--quick", "--model", "pocket", "--json", "--parts", "training_step",
                                   "--rounds", "1", "--classes", classes, "--method", method},
                                  folder.path());
  EXPECT_EQ(run.status, 0) << run.err;
  for (const Json& line : lines_of(run.out)) {
    if (line.at("part") == "training_step") return line.at("gflop").get<double>();
  }
  return 0;
}

TEST(Bench, CountsTheOperationsOfForwardAndBackward) {
  // pocket's blocks but the last do 2 * width * (4 width + 2 hidden) operations a row and direction.
  constexpr double kRow = 2.0 * 192 * (4 * 192 + 2 * 768);
  const double few = operations_of_a_step("coop:context.length=4", "1");
  const double more = operations_of_a_step("coop:context.length=20", "1");
  // 16 more rows of the prefix: in the last of three blocks they only serve as keys and values.
  const double expected = 16 * 2 * (2 * kRow + 2.0 * 192 * 3 * 192);
  EXPECT_NEAR(1e9 * (more - few), expected, 0.02 * expected);
}

TEST(Bench, RefusesUnknownPartsAndMethods) {
  const TemporaryFolder folder;
  const Finished part = run_attune({"bench", "--model", "pocket", "--parts", "towers"}, folder.path());
  EXPECT_EQ(part.status, 2);
  EXPECT_THAT(part.err, HasSubstr("image_tower"));
  const Finished method = run_attune({"bench", "--model", "pocket", "--method", "coup"}, folder.path());
  EXPECT_EQ(method.status, 2);
  EXPECT_THAT(method.err, HasSubstr("coop"));
}

}  // namespace
}  // namespace attune

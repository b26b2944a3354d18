#include <optional>

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/formats/safetensors.h"
#include "attune/images/encode.h"
#include "tests/cli/program.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing_support::kSmallClip;

/// Three classes of coloured noise, 12 training and 6 test pictures each.
std::filesystem::path make_pictures(const std::filesystem::path& root) {
  const char* names[] = {"red", "green", "blue"};
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 18; ++i) {
      KeyedRandom random(1, names[c], static_cast<std::uint64_t>(i));
      Image image{40, 36, {}};
      for (int p = 0; p < 40 * 36; ++p) {
        for (int channel = 0; channel < 3; ++channel) {
          image.rgb.push_back(static_cast<std::uint8_t>(random.below(channel == c ? 256 : 120)));
        }
      }
      const char* part = i < 12 ? "train" : "test";
      write_file(root / part / names[c] / (std::to_string(i) + ".png"), encode_png(image));
    }
  }
  return root;
}

class Train : public testing::Test {
 protected:
  std::vector<std::string> train(const std::string& method, const std::string& out,
                                 const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"train",  "--model",      kSmallClip,
                                      "--data", data_.string(), "--method",
                                      method,   "--out",        (folder_.path() / out).string()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::string> command(const std::string& out, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = train(
        "coop", out,
        {"--shots", "8", "--set", "epochs=6", "--set", "batch_size=4", "--set", "optim.lr=0.05", "--threads", "1"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string file(const std::string& name) const { return read_file(folder_.path() / name); }

  TemporaryFolder folder_;
  std::filesystem::path data_ = make_pictures(folder_.path() / "data");
};

TEST_F(Train, LeavesARunWithAllItsFiles) {
  const Finished run = run_attune(command("run", {"--json"}), folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json results = parse_json(run.out, "standard output");
  EXPECT_EQ(json_at<std::string>(results, "method", "results"), "coop");
  EXPECT_EQ(results["measured"].is_null() && results["metrics"].is_null(), false);
  for (const char* name : {"run/config.yaml", "run/split.json", "run/results.json", "run/report.html",
                           "run/metrics.jsonl", "run/adapter/adapter_config.json",
                           "run/adapter/adapter_model.safetensors", "run/checkpoints/last.safetensors"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_.path() / name)) << name;
  }
  EXPECT_TRUE(SafetensorsFile(folder_.path() / "run/adapter/adapter_model.safetensors").contains("context"));
}

TEST_F(Train, IsTheSameToTheBitWhenRunAgain) {
  ASSERT_EQ(run_attune(command("a"), folder_.path()).status, 0);
  ASSERT_EQ(run_attune(command("b", {"--no-cache"}), folder_.path()).status, 0);
  EXPECT_EQ(file("a/adapter/adapter_model.safetensors"), file("b/adapter/adapter_model.safetensors"));
}

TEST_F(Train, LearnsWithoutATestPartAndSaysSo) {
  std::filesystem::remove_all(data_ / "test");
  const Finished run = run_attune(command("run"), folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("no test pictures"), HasSubstr("run/adapter")));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "run/adapter/adapter_model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run/results.json"));
}

TEST_F(Train, ADryRunSaysWhatItNeedsAndWritesNothing) {
  const Finished run = run_attune(command("run", {"--dry-run", "--skip-broken"}), folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("24 training"), HasSubstr("needs about")));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "cache"));
}

/// When a file was last written; nothing where it is missing.
std::optional<std::filesystem::file_time_type> written_at(const std::filesystem::path& path) {
  std::error_code missing;
  const auto time = std::filesystem::last_write_time(path, missing);
  return missing ? std::nullopt : std::optional(time);
}

TEST_F(Train, KilledAtRandomStepsAndResumedEndsWithTheSameBitsSlow) {
  ASSERT_EQ(run_attune(command("whole"), folder_.path()).status, 0);
  const std::filesystem::path checkpoint = folder_.path() / "killed/checkpoints/last.safetensors";
  KeyedRandom random(5, "kills");
  int kills = 0;
  for (bool done = false; !done && kills < 60;) {
    // A moment after the run has come further than the one before it.
    const auto former = written_at(checkpoint);
    const std::chrono::milliseconds wait(random.below(120));
    std::optional<std::chrono::steady_clock::time_point> seen;
    const Ending ending{[&] {
      if (!seen && written_at(checkpoint) != former) seen = std::chrono::steady_clock::now();
      return seen && std::chrono::steady_clock::now() - *seen >= wait;
    }};
    done = run_attune(command("killed", {"--resume"}), folder_.path(), ending).status == 0;
    kills += done ? 0 : 1;
  }
  EXPECT_GT(kills, 0);
  EXPECT_EQ(file("whole/adapter/adapter_model.safetensors"), file("killed/adapter/adapter_model.safetensors"));
}

TEST_F(Train, RefusesToResumeWithAnotherConfiguration) {
  ASSERT_EQ(run_attune(command("run"), folder_.path()).status, 0);
  const Finished other = run_attune(command("run", {"--resume", "--set", "optim.lr=0.1"}), folder_.path());
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("another configuration"));
  const Finished again = run_attune(command("run"), folder_.path());
  EXPECT_EQ(again.status, 2);
  EXPECT_THAT(again.err, HasSubstr("--resume"));
}

TEST_F(Train, RefusesToResumeWithOtherDescriptionsUnderTheSameName) {
  const std::string texts = (folder_.path() / "texts.json").string();
  write_file(texts, R"({"red": ["a red thing."]})");
  const std::vector<std::string> more = {"--shots",   "2",         "--set",    "epochs=1",
                                         "--set",     "prompts=2", "--set",    "descriptions=" + texts,
                                         "--threads", "1",         "--no-test"};
  ASSERT_EQ(run_attune(train("dual_pt", "run", more), folder_.path()).status, 0);
  std::vector<std::string> resumed = more;
  resumed.emplace_back("--resume");
  EXPECT_EQ(run_attune(train("dual_pt", "run", resumed), folder_.path()).status, 0);
  write_file(texts, R"({"red": ["a redder thing."]})");
  const Finished other = run_attune(train("dual_pt", "run", resumed), folder_.path());
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("another configuration"));
  std::filesystem::remove(texts);
  EXPECT_THAT(run_attune(train("dual_pt", "run", resumed), folder_.path()).err, HasSubstr("texts.json"));
}

TEST_F(Train, UnknownKeysNameTheNearestKnownOne) {
  const Finished run = run_attune(command("run", {"--set", "context.lenght=4"}), folder_.path());
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.err, AllOf(HasSubstr("context.lenght"), HasSubstr("context.length"), HasSubstr("--set")));
}

TEST_F(Train, NamesABrokenPictureAndLeavesItOutOnRequest) {
  write_file(data_ / "train/red/broken.png", "not a picture");
  const Finished stopped = run_attune(command("run", {"--shots", "0"}), folder_.path());
  EXPECT_EQ(stopped.status, 1);
  EXPECT_THAT(stopped.err, HasSubstr("broken.png"));
  const Finished skipped = run_attune(command("other", {"--shots", "0", "--skip-broken"}), folder_.path());
  EXPECT_EQ(skipped.status, 0) << skipped.err;
  EXPECT_THAT(skipped.err, AllOf(HasSubstr("left out"), HasSubstr("broken.png")));
}

TEST_F(Train, PredictUsesWhatWasLearned) {
  ASSERT_EQ(run_attune(command("run"), folder_.path()).status, 0);
  const std::string picture = (data_ / "test/red/12.png").string();
  const Finished predicted = run_attune(
      {"predict", "--model", kSmallClip, "--adapter", (folder_.path() / "run/adapter").string(), "--json", picture},
      folder_.path());
  ASSERT_EQ(predicted.status, 0) << predicted.err;
  const Json line = parse_json(predicted.out, "standard output");
  EXPECT_EQ(json_at<std::string>(line, "path", "line"), picture);
  ASSERT_EQ(line["labels"].size(), 3u);
  double sum = 0;
  for (const Json& label : line["labels"]) sum += label["score"].get<double>();
  EXPECT_NEAR(sum, 1.0, 1e-6);

  const Finished renamed =
      run_attune({"predict", "--model", kSmallClip, "--adapter", (folder_.path() / "run/adapter").string(), "--classes",
                  "apple,pear", "--json", picture},
                 folder_.path());
  ASSERT_EQ(renamed.status, 0) << renamed.err;
  EXPECT_EQ(parse_json(renamed.out, "standard output")["labels"].size(), 2u);
}

TEST_F(Train, PredictRemembersTheModelAndCachesOnlyManyPictures) {
  const auto predict = [&] {
    return run_attune({"predict", "--model", kSmallClip, "--classes", "red,green", "--json", data_.string()},
                      folder_.path());
  };
  const Finished few = predict();
  ASSERT_EQ(few.status, 0) << few.err;
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "cache"));
  const std::string picture = read_file(data_ / "train/red/0.png");
  for (int i = 0; i < 256; ++i) write_file(data_ / "more" / (std::to_string(i) + ".png"), picture);
  ASSERT_EQ(predict().status, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "cache" / "features"));
  EXPECT_THAT(read_file(folder_.path() / "cache" / "models" / "content-ids.jsonl"), HasSubstr("model.safetensors"));
}

TEST_F(Train, TheLinearProbeSearchesItsPenaltyOnValidation) {
  const Finished run = run_attune(train("linear_probe:probe.search=true", "run",
                                        {"--shots", "4", "--no-augment", "--no-test", "--set", "probe.iterations=30"}),
                                  folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json step = parse_json(read_lines(folder_.path() / "run" / "metrics.jsonl").at(0), "metrics");
  EXPECT_NE(step["c"].get<double>(), 0.316);
}

TEST_F(Train, EvalMeasuresForgettingOnOtherClasses) {
  ASSERT_EQ(run_attune(command("run", {"--classes", "base"}), folder_.path()).status, 0);
  const Finished eval =
      run_attune({"eval", "--model", kSmallClip, "--data", data_.string(), "--classes", "base", "--adapter",
                  (folder_.path() / "run/adapter").string(), "--forgetting", data_.string(), "--json"},
                 folder_.path());
  ASSERT_EQ(eval.status, 0) << eval.err;
  const Json results = parse_json(eval.out, "standard output");
  EXPECT_TRUE(results["forgetting"].is_object()) << eval.out.substr(0, 400);
}

}  // namespace
}  // namespace attune

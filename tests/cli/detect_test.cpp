#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/data/boxes.h"
#include "attune/data/coco.h"
#include "attune/evaluation/detection.h"
#include "attune/images/decode.h"
#include "tests/cli/resuming.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing_support::kDetector;
using testing_support::kTasks;

const std::string kBoxes = kTasks + "/boxes/boxes.json";

class Detect : public testing::Test {
 protected:
  /// The three pictures of the test data, all of them in each part.
  Detect() {
    const std::filesystem::path data = folder_.path() / "data";
    for (const char* part : {"train", "test"}) {
      std::filesystem::create_directories(data / part);
      std::filesystem::copy(kTasks + "/boxes/images", data / part);
      std::filesystem::copy(kBoxes, data / part / "_annotations.coco.json");
    }
  }

  std::vector<std::string> train(const std::string& out, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {
        "train",  "--task",     "detection", "--method", "cones",        "--model", kDetector,
        "--data", path("data"), "--out",     path(out),  "--shots",      "0",       "--threads",
        "1",      "--set",      "epochs=40", "--set",    "batch_size=1", "--set",   "optim.lr=0.05"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string file(const std::string& name) const { return read_file(folder_.path() / name); }

  TemporaryFolder folder_;
};

TEST_F(Detect, SearchesMeasuresAndDraws) {
  const Finished run = run_attune(train("run", {"--json"}), folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json results = parse_json(run.out, "stdout");
  EXPECT_EQ(results["task"], "detection");
  EXPECT_EQ(parse_json(file("run/results.json"), "results"), results);
  EXPECT_TRUE(results["zero_shot"]["ap50"].is_number());

  // The written detections are the measured ones.
  const BoxDataset data = open_boxes(path("data"));
  const auto detections = parse_coco_results(read_json(path("run/detections.json")), data.categories, "detections");
  EXPECT_NEAR(measure_detections(data.test, 2, detections).ap, results["metrics"]["ap"].get<double>(), 1e-12);
  EXPECT_EQ(read_image(path("run/pictures/1.png")).width, 72);
  EXPECT_THAT(file("run/report.html"), AllOf(HasSubstr("AP50"), HasSubstr("large bird"), HasSubstr("data:image/png")));

  // The loss fell.
  std::vector<double> losses;
  for (const std::string& line : read_lines(path("run/metrics.jsonl"))) {
    losses.push_back(parse_json(line, "metrics")["loss"].get<double>());
  }
  ASSERT_EQ(losses.size(), 120u);
  EXPECT_LT(losses[117] + losses[118] + losses[119], 0.9 * (losses[0] + losses[1] + losses[2]));

  // The adapter finds the same boxes.
  const Finished again = run_attune({"detect", "--model", kDetector, "--adapter", path("run/adapter"), "--data",
                                     path("data"), "--out", path("again"), "--threads", "1", "--quiet"},
                                    folder_.path());
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(file("again/detections.json"), file("run/detections.json"));
}

TEST_F(Detect, AKilledSearchResumedEndsWithTheSameBits) {
  expect_same_bits_after_a_kill(folder_.path(), [this](auto&&... of) { return train(of...); }, {});
}

TEST_F(Detect, ASecondStageIsMeasuredSavedAndUsed) {
  for (const char* tune : {"all", "lora"}) {
    const std::string out = std::string("second_") + tune;
    const Finished run =
        run_attune(train(out, {"--json", "--set", "second.epochs=8", "--set", std::string("second.tune=") + tune,
                               "--set", "second.lr=0.003", "--set", "epochs=2"}),
                   folder_.path());
    ASSERT_EQ(run.status, 0) << run.err;
    const Json results = parse_json(run.out, "stdout");
    for (const char* kind : {"zero_shot", "searched", "metrics", "zero_shot_tuned"}) {
      EXPECT_TRUE(results[kind]["ap50"].is_number()) << kind;
    }
    std::vector<double> losses;
    for (const std::string& line : read_lines(path(out + "/metrics.jsonl"))) {
      const Json step = parse_json(line, "metrics");
      if (step["stage"] == "second") losses.push_back(step["loss"].get<double>());
    }
    ASSERT_EQ(losses.size(), 8u);
    EXPECT_LT(losses.back(), losses.front()) << tune;
    const Finished again = run_attune({"detect", "--model", kDetector, "--adapter", path(out + "/adapter"), "--data",
                                       path("data"), "--out", path(out + "_again"), "--threads", "1", "--quiet"},
                                      folder_.path());
    ASSERT_EQ(again.status, 0) << again.err;
    EXPECT_EQ(file(out + "_again/detections.json"), file(out + "/detections.json"));
  }
}

TEST_F(Detect, AKilledSecondStageResumedEndsWithTheSameBits) {
  expect_same_bits_after_a_kill(folder_.path(), [this](auto&&... of) { return train(of...); },
                                {"--set", "second.epochs=30", "--set", "epochs=1"});
}

TEST_F(Detect, TakesAnOffsetOnTheTextAndSeveralEmbeddings) {
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--method", "text_offset"}, {"--set", "cones.embeddings=3"}}) {
    const std::string out = "run" + more.back().substr(0, 4);
    std::vector<std::string> words = train(out, {"--quiet", "--set", "epochs=2"});
    if (more[0] == "--method") words[4] = "text_offset";
    if (more[0] == "--set") words.insert(words.end(), more.begin(), more.end());
    const Finished run = run_attune(words, folder_.path());
    ASSERT_EQ(run.status, 0) << run.err;
    const Finished again = run_attune({"detect", "--model", kDetector, "--adapter", path(out + "/adapter"), "--data",
                                       path("data"), "--out", path(out + "_again"), "--threads", "1", "--quiet"},
                                      folder_.path());
    ASSERT_EQ(again.status, 0) << again.err;
    EXPECT_EQ(file(out + "_again/detections.json"), file(out + "/detections.json"));
  }
}

TEST_F(Detect, FindsWhatIsNamedInPicturesWithoutAnnotations) {
  const Finished run = run_attune({"detect", "--model", kDetector, "--classes", "cat,dog,owl", "--threshold", "0",
                                   "--json", "--out", path("found"), "--threads", "1", kTasks + "/boxes/images"},
                                  folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json first = parse_json(run.out.substr(0, run.out.find('\n')), "line");
  EXPECT_THAT(first["path"].get<std::string>(), HasSubstr("0.png"));
  ASSERT_FALSE(first["boxes"].empty());
  EXPECT_TRUE(first["boxes"][0]["score"].get<double>() >= first["boxes"].back()["score"].get<double>());
  const Json results = read_json(path("found/detections.json"));
  EXPECT_EQ(results[0]["file_name"], first["path"]);
  EXPECT_NE(read_image(path("found/pictures/1_0.png")).rgb, read_image(kTasks + "/boxes/images/0.png").rgb);
}

TEST_F(Detect, SaysWhatIsMissingOrDoesNotFit) {
  const auto fails = [&](const std::vector<std::string>& words, int status, const std::string& text) {
    const Finished run = run_attune(words, folder_.path());
    EXPECT_EQ(run.status, status);
    EXPECT_THAT(run.err, HasSubstr(text));
  };
  fails(train("a", {"--domain", "x"}), 2, "--domain");
  fails(train("a", {"--set", "shotz=3"}), 2, "shots");
  fails(train("a", {"--set", "cones.start=here"}), 2, "cones.start");
  fails(train("a", {"--set", "method=coop"}), 2, "method");
  fails(train("a", {"--set", "method=text_offset", "--set", "cones.start=random"}), 2, "cones.start");
  fails(train("a", {"--set", "second.epochs=1", "--set", "second.tune=head"}), 2, "second.tune");
  fails(train("a", {"--set", "cones.embeddings=0"}), 2, "cones.embeddings");
  fails({"detect", "--model", kDetector, kTasks + "/boxes/images/0.png"}, 2, "--classes");
  fails({"detect", "--model", kDetector, "--classes", "a"}, 2, "--data");
  fails({"detect", "--model", std::string(ATTUNE_SOURCE_DIR) + "/tests/clip/data/hf_quick", "--classes", "a",
         kTasks + "/boxes/images/0.png"},
        1, "owlvit");
}

}  // namespace
}  // namespace attune

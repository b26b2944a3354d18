#include <algorithm>

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/data/coco.h"
#include "attune/evaluation/detection.h"
#include "attune/images/decode.h"
#include "attune/tensors/tensor.h"
#include "tests/cli/resuming.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing_support::kDetector;
using testing_support::kSegmenter;
using testing_support::kTasks;

class Segment : public testing::Test {
 protected:
  /// The three pictures of the test data, all of them in each part, with ellipses in the boxes.
  Segment() {
    Json truth = read_json(kTasks + "/boxes/boxes.json");
    for (Json& one : truth["annotations"]) {
      const double x = one["bbox"][0], y = one["bbox"][1], width = one["bbox"][2], height = one["bbox"][3];
      one["segmentation"] = {
          {x + width / 2, y, x + width, y + height / 2, x + width / 2, y + height, x, y + height / 2}};
    }
    const std::filesystem::path data = folder_.path() / "data";
    for (const char* part : {"train", "test"}) {
      std::filesystem::create_directories(data / part);
      std::filesystem::copy(kTasks + "/boxes/images", data / part);
      write_json(data / part / "_annotations.coco.json", truth);
    }
  }

  std::vector<std::string> train(const std::string& out, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {
        "train",  "--task",     "segmentation", "--method", "cones",        "--model", kSegmenter,
        "--data", path("data"), "--out",        path(out),  "--shots",      "0",       "--threads",
        "1",      "--set",      "epochs=30",    "--set",    "batch_size=2", "--set",   "optim.lr=0.1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string file(const std::string& name) const { return read_file(folder_.path() / name); }
  std::vector<double> losses(const std::string& run) const {
    std::vector<double> result;
    for (const std::string& line : read_lines(path(run + "/metrics.jsonl"))) {
      result.push_back(parse_json(line, "metrics")["loss"].get<double>());
    }
    return result;
  }

  TemporaryFolder folder_;
};

TEST_F(Segment, SearchesMeasuresAndDraws) {
  const Finished run = run_attune(train("run", {"--json"}), folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json results = parse_json(run.out, "stdout");
  EXPECT_EQ(results["task"], "segmentation");
  EXPECT_EQ(parse_json(file("run/results.json"), "results"), results);
  EXPECT_GT(results["floors"]["box"]["mean_iou"].get<double>(), 0.3);  // a rhombus fills half of its box

  // The written detections are the measured ones.
  const BoxDataset data = open_boxes(path("data"), true);
  const auto detections = parse_coco_results(read_json(path("run/detections.json")), data.categories, "detections");
  EXPECT_NEAR(measure_detections(data.test, 2, detections, Compared::kMasks).ap, results["metrics"]["ap"].get<double>(),
              1e-12);
  EXPECT_THAT(file("run/report.html"), AllOf(HasSubstr("box filled"), HasSubstr("data:image/png")));
  const std::vector<double> lost = losses("run");
  ASSERT_EQ(lost.size(), 120u);  // eight objects, a crowd beside them
  EXPECT_LT(lost[117] + lost[118] + lost[119], lost[0] + lost[1] + lost[2]);
}

TEST_F(Segment, AKilledSearchResumedEndsWithTheSameBits) {
  expect_same_bits_after_a_kill(folder_.path(), [this](auto&&... of) { return train(of...); }, {});
}

TEST_F(Segment, ASecondStageIsMeasuredSavedAndUsed) {
  for (const char* tune : {"all", "lora"}) {
    const std::string out = std::string("second_") + tune;
    const Finished run = run_attune(
        train(out, {"--json", "--set", "epochs=2", "--set", "second.epochs=6", "--set",
                    std::string("second.tune=") + tune, "--set", "second.lr=0.003", "--set", "segment.view=pictures"}),
        folder_.path());
    ASSERT_EQ(run.status, 0) << run.err;
    const Json results = parse_json(run.out, "stdout");
    for (const char* kind : {"zero_shot", "searched", "metrics", "zero_shot_tuned", "second_stage"}) {
      EXPECT_TRUE(results[kind]["mean_iou"].is_number()) << kind;
    }
    EXPECT_NE(results["metrics"], results["searched"]);
    EXPECT_THAT(file(out + "/report.html"), AllOf(HasSubstr("second stage"), HasSubstr("its names")));
    const std::vector<double> lost = losses(out);
    ASSERT_GE(lost.size(), 6u);
    EXPECT_LT(lost.back(), lost[lost.size() / 4]) << tune;

    // detect takes the tuned segmenter: other masks than with the embeddings of the search alone.
    const auto found_with = [&](const std::string& adapter, const std::string& to) {
      const Finished found = run_attune(
          {"detect", "--model", kDetector, "--segment", kSegmenter, "--segment-adapter", adapter, "--threads", "1",
           "--quiet", "--classes", "cat,large bird", "--threshold", "0", "--out", path(to), kTasks + "/boxes/images"},
          folder_.path());
      EXPECT_EQ(found.status, 0) << found.err;
      return file(to + "/detections.json");
    };
    const std::string tuned = found_with(path(out + "/adapter"), out + "_found");
    const TensorMap all = load_tensors(folder_.path() / out / "adapter/adapter_model.safetensors");
    save_tensors(folder_.path() / out / "adapter/adapter_model.safetensors", {{"embeddings", all.at("embeddings")}});
    EXPECT_NE(found_with(path(out + "/adapter"), out + "_without"), tuned) << tune;
  }
}

TEST_F(Segment, AKilledSecondStageResumedEndsWithTheSameBits) {
  expect_same_bits_after_a_kill(folder_.path(), [this](auto&&... of) { return train(of...); },
                                {"--set", "second.epochs=12", "--set", "epochs=1"});
}

TEST_F(Segment, GivesEachDetectionItsMask) {
  ASSERT_EQ(run_attune(train("run", {"--no-test", "--set", "segment.view=pictures"}), folder_.path()).status, 0);
  const std::vector<std::string> detect = {"detect",    "--model", kDetector, "--segment", kSegmenter,
                                           "--threads", "1",       "--json",  "--classes", "cat,large bird"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = detect;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const Finished run =
      run_attune(with({"--out", path("found"), "--threshold", "0", kTasks + "/boxes/images"}), folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json first = parse_json(run.out.substr(0, run.out.find('\n')), "line")["boxes"][0];
  EXPECT_EQ(first["segmentation"]["size"], Json({56, 72}));
  const Json results = read_json(path("found/detections.json"));
  EXPECT_EQ(results[0]["segmentation"], first["segmentation"]);
  const Mask mask = parse_segmentation(results[0]["segmentation"], 72, 56, "mask");
  EXPECT_EQ(read_image(path("found/masks/1_0_1.png")), picture_of(mask));

  // Measured, by names and by what was searched.
  const Finished measured = run_attune(with({"--data", path("data"), "--out", path("named")}), folder_.path());
  ASSERT_EQ(measured.status, 0) << measured.err;
  const std::string last = measured.out.substr(measured.out.rfind('\n', measured.out.size() - 2) + 1);
  EXPECT_TRUE(parse_json(last, "last")["mask_metrics"]["ap50"].is_number());
  const Finished searched =
      run_attune(with({"--data", path("data"), "--out", path("searched"), "--segment-adapter", path("run/adapter")}),
                 folder_.path());
  ASSERT_EQ(searched.status, 0) << searched.err;
  EXPECT_NE(file("searched/detections.json"), file("named/detections.json"));
}

TEST_F(Segment, SaysWhatIsMissingOrDoesNotFit) {
  const auto fails = [&](const std::vector<std::string>& words, int status, const std::string& text) {
    const Finished run = run_attune(words, folder_.path());
    EXPECT_EQ(run.status, status);
    EXPECT_THAT(run.err, HasSubstr(text));
  };
  fails(train("a", {"--set", "segment.view=here"}), 2, "segment.view");
  fails(train("a", {"--set", "segment.margin=-1"}), 2, "segment.margin");
  fails(train("a", {"--set", "second.epochs=1", "--set", "second.tune=head"}), 2, "second.tune");
  std::vector<std::string> other = train("a");
  std::replace(other.begin(), other.end(), kSegmenter, kDetector);
  fails(other, 1, "clipseg");
  const std::string picture = kTasks + "/boxes/images/0.png";
  fails({"detect", "--model", kDetector, "--classes", "a", "--segment-adapter", path("x"), picture}, 2, "--segment");
  fails({"detect", "--model", kDetector, "--classes", "a", "--segment", kDetector, picture}, 1, "clipseg");
  // Boxes alone are no masks.
  write_json(folder_.path() / "data/train/_annotations.coco.json", read_json(kTasks + "/boxes/boxes.json"));
  fails(train("a"), 1, "expected objects with masks");
}

}  // namespace
}  // namespace attune

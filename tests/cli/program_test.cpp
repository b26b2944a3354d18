#include "tests/cli/program.h"

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/formats/safetensors.h"
#include "attune/images/encode.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using testing_support::kSmallClip;

TEST(Program, HelpNamesEveryVerb) {
  const TemporaryFolder folder;
  const Finished help = run_attune({"--help"}, folder.path());
  EXPECT_EQ(help.status, 0);
  for (const char* verb : {"train", "eval", "predict", "embed", "report", "data", "model", "pretrain", "bench"}) {
    EXPECT_THAT(help.out, HasSubstr(verb));
    EXPECT_EQ(run_attune({verb, "--help"}, folder.path()).status, 0) << verb;
  }
}

TEST(Program, WrongUsageExitsWithTwoAndNamesWhatIsWrong) {
  const TemporaryFolder folder;
  const auto expect_refused = [&](const std::vector<std::string>& words, const std::string& reason) {
    const Finished run = run_attune(words, folder.path());
    EXPECT_EQ(run.status, 2);
    EXPECT_THAT(run.err, StartsWith("attune")) << run.err;
    EXPECT_THAT(run.err, HasSubstr(reason));
  };
  expect_refused({"tain"}, "found tain; did you mean train?");
  expect_refused({}, "expected one of train, eval");
  expect_refused({"data"}, "attune data: expected one of check, split");
  expect_refused({"data", "chek"}, "found chek; did you mean check?");
  // A misspelt option is named before those that are missing.
  expect_refused({"train", "--shoots", "3"},
                 "attune train: expected one of its options, found --shoots; did you mean --shots?");
  expect_refused({"train", "--modle=pocket"}, "found --modle; did you mean --model?");
  expect_refused({"train", "--model", "pocket"}, "--data");
  expect_refused({"model", "info", kSmallClip, "more"}, "attune model info: expected nothing more, found more");
  // Nothing else is wrong with these: releases of CLI11 differ in what they name first.
  const auto expect_value_refused = [&](std::vector<std::string> words, const std::string& option,
                                        const std::string& value, const std::string& reason) {
    words.insert(words.end(), {"--model", "nowhere", "--out", "nowhere", option, value});
    expect_refused(words, reason);
  };
  const std::vector<std::string> train = {"train", "--data", "nowhere"};
  expect_value_refused(train, "--shots", "x", "attune train: --shots: expected an integer from 0, found x");
  expect_value_refused(train, "--seed", "-1", "--seed: expected an integer from 0, found -1");
  expect_value_refused(train, "--task", "naming",
                       "expected one of classification, detection, segmentation, generation, found naming");
  expect_value_refused({"detect"}, "--threshold", "1.5", "--threshold: expected 0 to 1, found 1.5");
  expect_value_refused({"generate"}, "--count", "10000", "--count: expected 1 to 9999, found 10000");
  const Finished device = run_attune({"model", "info", kSmallClip, "--device", "cuda:7"}, folder.path());
  EXPECT_EQ(device.status, 2);
  EXPECT_THAT(device.err, HasSubstr("cuda"));
  EXPECT_TRUE(device.out.empty());
}

TEST(Program, OutputThatIsNotTakenIsAFailure) {
  const TemporaryFolder folder;
  for (const std::string& words : {std::string("--version"), "model info " + std::string(kSmallClip)}) {
    const std::filesystem::path said = folder.path() / "said";
    const int status = std::system(("'" ATTUNE_PROGRAM "' " + words + " >/dev/full 2>'" + said.string() + "'").c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << words;
    EXPECT_THAT(read_file(said), HasSubstr("standard output")) << words;
  }
}

TEST(Program, AMissingModelExitsWithOneAndNamesTheFolder) {
  const TemporaryFolder folder;
  const Finished run = run_attune({"model", "info", "/nonexistent/model"}, folder.path());
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.err, HasSubstr("/nonexistent/model"));
}

TEST(Program, ModelInfoAndCheckGiveJson) {
  const TemporaryFolder folder;
  const Finished info = run_attune({"model", "info", kSmallClip, "--json"}, folder.path());
  ASSERT_EQ(info.status, 0) << info.err;
  EXPECT_EQ(parse_json(info.out, "info")["text"]["activation"], "quick_gelu");
  const Finished check = run_attune({"model", "check", kSmallClip}, folder.path());
  ASSERT_EQ(check.status, 0) << check.err;
  EXPECT_TRUE(parse_json(check.out, "check")["finite"].get<bool>());
}

TEST(Program, EmbedWritesUnitFeaturesOfPicturesAndTexts) {
  const TemporaryFolder folder;
  Image image{33, 40, std::vector<std::uint8_t>(33 * 40 * 3, 90)};
  write_file(folder.path() / "pictures/a.png", encode_png(image));
  image.rgb[0] = 250;
  write_file(folder.path() / "pictures/b.png", encode_png(image));
  const std::filesystem::path out = folder.path() / "features.safetensors";
  const Finished run = run_attune({"embed", "--model", kSmallClip, "--images", (folder.path() / "pictures").string(),
                                   "--out", out.string(), "--json"},
                                  folder.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const SafetensorsFile file(out);
  const TensorView& features = file.at("features");
  ASSERT_EQ(features.shape[0], 2);
  EXPECT_EQ(parse_json(file.metadata().at("paths"), "paths").size(), 2u);
  const auto* values = reinterpret_cast<const float*>(features.bytes.data());
  double length = 0;
  for (std::int64_t i = 0; i < features.shape[1]; ++i) length += values[i] * values[i];
  EXPECT_NEAR(length, 1.0, 1e-5);

  write_file(folder.path() / "texts.txt", "a dog\na cat\r\nan owl");
  const Finished texts = run_attune({"embed", "--model", kSmallClip, "--texts", (folder.path() / "texts.txt").string(),
                                     "--out", (folder.path() / "texts.npy").string()},
                                    folder.path());
  EXPECT_EQ(texts.status, 0) << texts.err;
  const Finished neither = run_attune({"embed", "--model", kSmallClip, "--out", out.string()}, folder.path());
  EXPECT_EQ(neither.status, 2);
}

TEST(Program, DataSplitWritesAFileThatItReadsBack) {
  const TemporaryFolder folder;
  for (const char* name : {"cat", "dog"}) {
    for (int i = 0; i < 10; ++i) {
      Image image{8, 8, std::vector<std::uint8_t>(8 * 8 * 3, static_cast<std::uint8_t>(i * 20 + name[0]))};
      write_file(folder.path() / "data" / name / (std::to_string(i) + ".png"), encode_png(image));
    }
  }
  const Finished split = run_attune({"data", "split", (folder.path() / "data").string(), "--rule", "few-shot",
                                     "--shots", "2", "--out", (folder.path() / "split.json").string(), "--json"},
                                    folder.path());
  ASSERT_EQ(split.status, 0) << split.err;
  EXPECT_EQ(parse_json(split.out, "split")["train"], 4);
  const Finished check = run_attune({"data", "check", (folder.path() / "data").string(), "--json"}, folder.path());
  ASSERT_EQ(check.status, 0) << check.err;
  const Finished show =
      run_attune({"data", "show", (folder.path() / "data").string(), "--out", (folder.path() / "sheet.png").string()},
                 folder.path());
  EXPECT_EQ(show.status, 0) << show.err;
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "sheet.png"));
}

TEST(Program, DataCropMakesADataSetOfBoxes) {
  const TemporaryFolder folder;
  const Image image{40, 30, std::vector<std::uint8_t>(40 * 30 * 3, 90)};
  write_file(folder.path() / "set/images/a.png", encode_png(image));
  write_file(folder.path() / "set/boxes.json",
             R"({"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
    "categories": [{"id": 1, "name": "cell"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 20]},
                    {"id": 2, "image_id": 1, "category_id": 1, "bbox": [30, 4, 6, 6]}]})");
  const std::vector<std::string> words = {
      "data",  "crop", "--data", (folder.path() / "set/boxes.json").string(), "--out", (folder.path() / "out").string(),
      "--json"};
  const Finished made = run_attune(words, folder.path());
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(parse_json(made.out, "crop")["counts"][0]["crops"], 1);
  EXPECT_EQ(parse_json(made.out, "crop")["small"], 1);
  const Finished again = run_attune(words, folder.path());
  EXPECT_EQ(again.status, 2) << again.err;
  EXPECT_NE(again.err.find("exists already"), std::string::npos) << again.err;
}

}  // namespace
}  // namespace attune

#include <algorithm>
#include <cstdlib>
#include <map>

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/clip/random_model.h"
#include "attune/clip/weights.h"
#include "tests/cli/program.h"
#include "tests/support/drawn_domains.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_support::kSmallClip;

const std::vector<std::string> kDomains = {"art_painting", "cartoon", "photo", "sketch"};
const std::vector<std::string> kClasses = {"dog", "elephant", "giraffe", "guitar", "horse", "house", "person"};

class StudyVerb : public testing::Test {
 protected:
  Finished study(const std::filesystem::path& data, const std::string& out, const std::vector<std::string>& more,
                 const Ending& ending = {}) const {
    std::vector<std::string> words = {"study", "dg-multi", "--model",   kSmallClip, "--data", data.string(),
                                      "--out", at(out),    "--threads", "1",        "--jobs", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_attune(words, folder_.path(), ending);
  }
  /// The record of a study of any protocol with short runs; `data` is one data set or several with commas.
  Json record(const std::string& protocol, const std::string& data, const std::string& out,
              const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"study", protocol, "--model",   kSmallClip, "--data", data,
                                      "--out", at(out),  "--threads", "1",        "--jobs", "1"};
    words.insert(words.end(), more.begin(), more.end());
    const Finished run = run_attune(words, folder_.path());
    EXPECT_EQ(run.status, 0) << run.err;
    return read_json(at(out) + "/study.json");
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  TemporaryFolder folder_;
};

const std::vector<std::string> kShort = {
    "--methods", "coop:epochs=2,batch_size=16,views.kind=centre", "--shots", "1", "--seeds", "1"};

void expect_whole_pacs_study(const Finished& run, const std::filesystem::path& out) {
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("8 runs of zero_shot, coop"), HasSubstr("average"), HasSubstr("sketch")));
  const Json study = read_json(out / "study.json");
  ASSERT_EQ(study["runs"].size(), 8u);
  for (const Json& one : study["runs"]) EXPECT_EQ(one["error"], "");
  EXPECT_EQ(study["runs"][1]["sources"], Json({"cartoon", "photo", "sketch"}));
  EXPECT_EQ(study["runs"][1]["training_pictures"], 21);
  for (const char* name : {"study.csv", "study.tex", "report.html"}) EXPECT_TRUE(std::filesystem::exists(out / name));
}

TEST_F(StudyVerb, RunsAFolderOfTheFormOfPacs) {
  const auto data = draw_domains(folder_.path() / "pacs", kDomains, kClasses, 4);
  expect_whole_pacs_study(study(data, "out", kShort), at("out"));
  const Finished report = run_attune({"report", at("out"), "--out", at("page.html")}, folder_.path());
  ASSERT_EQ(report.status, 0) << report.err;
  EXPECT_EQ(read_file(at("page.html")), read_file(at("out/report.html")));
}

const std::string kShortSpg = "spg:epochs=1,labels.epochs=1,batch_size=8,views.kind=centre";

/// Whom each run of a method was tested on, by what it learned from.
std::map<std::string, std::vector<std::string>> tests_of(const Json& study, const std::string& method) {
  std::map<std::string, std::vector<std::string>> found;
  for (const Json& run : study["runs"]) {
    EXPECT_EQ(run["error"], "");
    if (run["method"] != method) continue;
    for (const Json& score : run["scores"]) {
      found[run["sources"].empty() ? run["training"] : run["sources"][0]].push_back(score["test"]);
      EXPECT_GE(score["acc1"], 0.0);
    }
  }
  return found;
}

TEST_F(StudyVerb, FromEachSingleDomainEveryOtherIsTested) {
  const auto data = draw_domains(folder_.path() / "pacs", {"art", "photo", "sketch"}, {"dog", "horse"}, 4);
  const Json study =
      record("dg-single", data.string(), "out", {"--methods", "coop:epochs=1," + kShortSpg, "--seeds", "1"});
  const std::map<std::string, std::vector<std::string>> expected = {
      {"art", {"photo", "sketch"}}, {"photo", {"art", "sketch"}}, {"sketch", {"art", "photo"}}};
  EXPECT_EQ(tests_of(study, "coop"), expected);
  EXPECT_EQ(tests_of(study, "spg"), expected);
  for (const Json& run : study["runs"]) {
    for (const Json& score : run["scores"]) EXPECT_EQ(score["count"], 8);  // train and val parts, each picture once
  }
  EXPECT_THAT(read_file(at("out/study.csv")), HasSubstr("from sketch"));
}

TEST_F(StudyVerb, FromTheDomainsOfOneDataSetEveryPictureOfTheOthersIsTestedWithItsOwnNames) {
  const auto pacs = draw_domains(folder_.path() / "pacs", {"art", "photo"}, {"dog", "horse"}, 4);
  const auto office = draw_domains(folder_.path() / "office", {"clipart", "real"}, {"cup", "key", "pen"}, 3);
  const auto terra = draw_domains(folder_.path() / "terra", {"day", "night"}, {"cat", "deer"}, 2);
  const Json study = record("dg-cross", pacs.string() + "," + office.string() + "," + terra.string(), "out",
                            {"--methods", "coop:epochs=1," + kShortSpg, "--seeds", "1"});
  const std::map<std::string, std::vector<std::string>> expected = {{"pacs", {"office", "terra"}}};
  EXPECT_EQ(tests_of(study, "coop"), expected);
  EXPECT_EQ(tests_of(study, "spg"), expected);
  EXPECT_EQ(study["runs"].back()["scores"][0]["count"], 18);
  EXPECT_EQ(study["runs"].back()["scores"][1]["count"], 8);
  const Json results = read_json(at("out/runs/spg.pacs.all.seed-1/results.json"));
  EXPECT_EQ(results[0]["classes"], Json({"cup", "key", "pen"}));
}

TEST_F(StudyVerb, SpgMakesPromptsForPicturesOfAResNetToo) {
  const auto data = draw_domains(folder_.path() / "pacs", {"art", "photo"}, {"dog", "horse"}, 4);
  const std::string resnet = std::string(ATTUNE_SOURCE_DIR) + "/tests/clip/data/open_clip_resnet";
  const Finished run = run_attune({"study", "dg-multi", "--model", resnet, "--data", data.string(), "--out", at("out"),
                                   "--methods", kShortSpg, "--seeds", "1", "--threads", "1", "--jobs", "1"},
                                  folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(read_json(at("out/study.json"))["runs"].size(), 4u);
}

TEST_F(StudyVerb, VisionPromptsOnAResNetAreRefusedWithTheReason) {
  const auto data = draw_domains(folder_.path() / "pacs", {"art", "photo"}, {"dog", "horse"}, 2);
  const std::string resnet = std::string(ATTUNE_SOURCE_DIR) + "/tests/clip/data/open_clip_resnet";
  for (const std::string method : {"vpt", "maple", "ivlp", "promptsrc", "dual_pt:cells.attention=values"}) {
    const Finished run = run_attune({"study", "dg-multi", "--model", resnet, "--data", data.string(), "--out",
                                     at("out"), "--methods", method, "--threads", "1"},
                                    folder_.path());
    EXPECT_EQ(run.status, 2) << method;
    EXPECT_THAT(run.err, HasSubstr("ResNet")) << method;
    EXPECT_FALSE(std::filesystem::exists(at("out"))) << method;
  }
}

TEST_F(StudyVerb, CrossDatasetKeepsTheSourceApart) {
  const auto first = draw_domains(folder_.path() / "first", {"train", "test"}, {"dog", "horse"}, 4);
  const auto other = draw_domains(folder_.path() / "other", {"train", "test"}, {"cup", "key", "pen"}, 2);
  const Json study = record("cross-dataset", first.string() + "," + other.string(), "out",
                            {"--methods", "coop:epochs=1,views.kind=centre", "--seeds", "1", "--shots", "2"});
  const Json& scores = study["runs"].back()["scores"];
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0]["role"], "source");
  EXPECT_EQ(scores[0]["count"], 8);
  EXPECT_EQ(scores[1]["role"], "target");
  EXPECT_EQ(scores[1]["count"], 6);
}

TEST_F(StudyVerb, BaseToNewNamesTheNewHalfWithTheBasePrompt) {
  const auto data = draw_domains(folder_.path() / "pets", {"train", "test"}, {"cat", "cow", "dog", "fox", "owl"}, 3);
  const Json study = record("base-to-new", data.string(), "out",
                            {"--methods", "coop:epochs=1,views.kind=centre", "--seeds", "1", "--shots", "2"});
  const Json& scores = study["runs"].back()["scores"];
  EXPECT_EQ(scores[0]["role"], "base");
  EXPECT_EQ(scores[0]["count"], 9);
  EXPECT_EQ(scores[1]["role"], "new");
  EXPECT_EQ(scores[1]["count"], 6);
  EXPECT_THAT(read_file(at("out/study.csv")), HasSubstr("HM"));
}

/// A model of full size whose weights are random, through the whole protocol; minutes, most of them weights on disk.
TEST_F(StudyVerb, SlowAFolderOfTheFormOfPacsRunsThroughWithAViTB16) {
  const std::string model = at("vit-b-16");
  const ClipConfig config = vit_b16_config();
  Preprocess preprocess;
  preprocess.size = 224;
  TensorMap weights = random_text_tensors(config, 1);
  weights.merge(random_vit_tensors(config, 1));
  const std::filesystem::path words_folder = models_folder() / "pocket";
  const Tokenizer tokenizer = Tokenizer::load(words_folder);
  write_hugging_face_folder(model,
                            {.config = config,
                             .preprocess = preprocess,
                             .start = tokenizer.start(),
                             .end = tokenizer.end(),
                             .tokenizer = words_folder / "tokenizer.json"},
                            weights, at::kHalf);
  const auto data = draw_domains(folder_.path() / "pacs", kDomains, kClasses, 2);
  std::vector<std::string> words = {"study",   "dg-multi", "--model",   model,     "--data",    data.string(),
                                    "--out",   at("out"),  "--jobs",    "1",       "--targets", "photo",
                                    "--seeds", "1",        "--methods", kShortSpg, "--threads", "2"};
  const Finished run = run_attune(words, folder_.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const Json study = read_json(at("out/study.json"));
  ASSERT_EQ(study["runs"].size(), 2u);
  EXPECT_EQ(study["runs"][1]["error"], "");
  EXPECT_EQ(study["runs"][1]["scores"][0]["count"], 14);
}

using StudyVerbOnPhotos = StudyVerb;

TEST_F(StudyVerbOnPhotos, RunsThemInTheFormOfPacs) {
  const char* real = std::getenv("ATTUNE_REAL_DATA");
  if (real == nullptr) GTEST_SKIP() << "ATTUNE_REAL_DATA names no folder of real image sets";
  const std::filesystem::path source = std::filesystem::path(real) / "grocery" / "train";
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(source)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  ASSERT_GE(folders.size(), kClasses.size());
  for (std::size_t c = 0; c < kClasses.size(); ++c) {
    std::vector<std::filesystem::path> photos;
    for (const auto& entry : std::filesystem::directory_iterator(folders[c])) photos.push_back(entry.path());
    std::sort(photos.begin(), photos.end());
    ASSERT_GE(photos.size(), 16u) << folders[c];
    for (std::size_t i = 0; i < 16; ++i) {
      const std::filesystem::path to = folder_.path() / "pacs" / kDomains[i % 4] / kClasses[c];
      std::filesystem::create_directories(to);
      std::filesystem::create_symlink(photos[i], to / photos[i].filename());
    }
  }
  expect_whole_pacs_study(study(folder_.path() / "pacs", "out", kShort), at("out"));
}

TEST_F(StudyVerb, ADryRunSaysWhatItWouldDoAndWritesNothing) {
  const auto data = draw_domains(folder_.path() / "pacs", kDomains, kClasses, 4);
  std::vector<std::string> more = kShort;
  more.emplace_back("--dry-run");
  const Finished run = study(data, "out", more);
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("8 runs"), HasSubstr("photo (28)"), HasSubstr("about")));
  EXPECT_FALSE(std::filesystem::exists(at("out")));
}

TEST_F(StudyVerb, StoppedInTheMiddleTheSameCommandEndsWithTheSameBits) {
  const auto data = draw_domains(folder_.path() / "pacs", {"art", "photo"}, {"dog", "horse"}, 6);
  const std::vector<std::string> more = {
      "--methods", "coop:epochs=40,batch_size=4,views.kind=centre", "--shots", "3", "--seeds", "2"};
  ASSERT_EQ(study(data, "whole", more).status, 0);
  const std::string run = "/runs/coop.pacs.to-art.3-shots.seed-2/";
  const Ending ending{[&] { return std::filesystem::exists(at("stopped" + run + "checkpoints/last.safetensors")); },
                      SIGINT};
  const Finished stopped = study(data, "stopped", more, ending);
  EXPECT_EQ(stopped.status, 130) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("the same command"));
  EXPECT_FALSE(std::filesystem::exists(at("stopped/study.json")));
  const Finished resumed = study(data, "stopped", more);
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  const std::string adapter = run + "adapter/adapter_model.safetensors";
  EXPECT_EQ(read_file(at("whole" + adapter)), read_file(at("stopped" + adapter)));
  EXPECT_EQ(read_file(at("whole/study.csv")), read_file(at("stopped/study.csv")));
}

TEST_F(StudyVerb, ARecipeIsOverruledByOptions) {
  const auto data = draw_domains(folder_.path() / "pacs", {"art", "photo"}, {"dog", "horse"}, 6);
  write_file(at("s.yaml"),
             "protocol: few-shot\nshots: 4\nseeds: 5\nmethods:\n  coop: {epochs: 2, batch_size: 4, views: {kind: "
             "centre}}\n  linear_probe: {views: {kind: centre}}\n");
  const Finished run = study(data, "out",
                             {"--recipe", at("s.yaml"), "--shots", "1,2", "--seeds", "1", "--targets", "photo",
                              "--methods", "coop", "--set", "coop.epochs=1", "--json"});
  ASSERT_EQ(run.status, 0) << run.err;
  const Json study = parse_json(run.out, "standard output");
  EXPECT_EQ(study["protocol"], "dg-multi");
  EXPECT_EQ(study["shots"], Json({1, 2}));
  ASSERT_EQ(study["methods"].size(), 2u);
  EXPECT_EQ(study["methods"][1]["config"]["epochs"], 1);
  EXPECT_EQ(study["methods"][1]["config"]["batch_size"], 4);
}

TEST_F(StudyVerb, WrongUseNamesTheOption) {
  const auto data = draw_domains(folder_.path() / "pacs", {"art", "photo"}, {"dog", "horse"}, 2);
  const auto why = [&](const std::vector<std::string>& more) {
    const Finished run = study(data, "out", more);
    EXPECT_EQ(run.status, 2) << run.err;
    return run.err;
  };
  EXPECT_THAT(why({}), HasSubstr("--methods"));
  EXPECT_THAT(why({"--methods", "coop", "--shots", "few"}), HasSubstr("--shots"));
  EXPECT_THAT(why({"--methods", "coop", "--set", "spg.epochs=1"}), AllOf(HasSubstr("--set"), HasSubstr("coop")));
  EXPECT_THAT(why({"--methods", "coop", "--set", "coop.epohcs=1"}), HasSubstr("epochs"));
  EXPECT_THAT(why({"--methods", "coop", "--targets", "oil"}), HasSubstr("oil"));
  EXPECT_FALSE(std::filesystem::exists(at("out")));
}

}  // namespace
}  // namespace attune

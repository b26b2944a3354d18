#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/tasks/learned_word.h"
#include "tests/cli/program.h"

namespace attune {
namespace {

using testing::HasSubstr;

/// Pixels and velocities, and latents and noise.
const std::filesystem::path kRepository = ATTUNE_SOURCE_DIR;
const std::string kPixels = kRepository / "tests/diffusion/data/v2";
const std::string kLatents = kRepository / "tests/diffusion/data/v1";

class Personalise : public testing::Test {
 protected:
  Personalise() {
    KeyedRandom random(5, "test.pictures");
    for (int i = 0; i < 3; ++i) {
      Image image{20 + i, 16, {}};
      image.rgb.resize(static_cast<std::size_t>(image.width * image.height * 3));
      for (auto& value : image.rgb) value = static_cast<std::uint8_t>(random.below(256));
      write_file(folder_.path() / (i == 2 ? "apart" : "toy") / std::to_string(i).append(".png"), encode_png(image));
    }
  }

  std::vector<std::string> train(const std::string& method, const std::string& out,
                                 const std::vector<std::string>& more = {}, const std::string& model = kPixels) const {
    std::vector<std::string> words = {"train",    "--task", "generation",   "--method", method,         "--model",
                                      model,      "--data", path("toy"),    "--out",    path(out),      "--threads",
                                      "1",        "--set",  "concept=cat",  "--set",    "repeats=10",   "--set",
                                      "epochs=4", "--set",  "batch_size=4", "--set",    "optim.lr=0.02"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Finished run(const std::vector<std::string>& words) const { return run_attune(words, folder_.path()); }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string file(const std::string& name) const { return read_file(folder_.path() / name); }

  TemporaryFolder folder_;
};

TEST_F(Personalise, SearchesMeasuresOnPicturesApartAndDraws) {
  for (const std::string method : {"cones", "textual_inversion"}) {
    const Finished done = run(train(method, method, {"--json", "--set", "measure.pictures=" + path("apart")}));
    ASSERT_EQ(done.status, 0) << done.err;
    const Json results = parse_json(done.out, "stdout");
    EXPECT_EQ(results["task"], "generation");
    EXPECT_EQ(results["split"]["measured_pictures"], 1);
    EXPECT_NE(results["metrics"]["loss"], results["metrics"]["loss_before"]);
    EXPECT_EQ(parse_json(file(method + "/results.json"), "results"), results);
    EXPECT_THAT(file(method + "/report.html"), HasSubstr("data:image/png"));
    EXPECT_GT(read_image(path(method + "/samples.png")).height, 2 * 8);
  }
}

TEST_F(Personalise, GoesOnWithTheSameBitsAfterAKill) {
  for (const std::string method : {"cones", "textual_inversion"}) {
    ASSERT_EQ(run(train(method, method + "-whole", {"--no-test"})).status, 0);
    const auto log = folder_.path() / (method + "-run") / "metrics.jsonl";
    const auto killed =
        run_attune(train(method, method + "-run", {"--no-test"}), folder_.path(),
                   {[&] { return std::filesystem::exists(log) && std::filesystem::file_size(log) > 0; }});
    if (killed.status != 0) {
      ASSERT_EQ(run(train(method, method + "-run", {"--no-test", "--resume"})).status, 0);
    }
    EXPECT_EQ(file(method + "-run/adapter/adapter_model.safetensors"),
              file(method + "-whole/adapter/adapter_model.safetensors"));
  }
}

TEST_F(Personalise, TunesTheNetworkOnRowsThatWereFoundBefore) {
  ASSERT_EQ(run(train("cones", "first", {"--no-test"}, kLatents)).status, 0);
  const Finished done = run(train("dreambooth", "second",
                                  {"--set", "dreambooth.from=" + path("first/adapter"), "--set", "dreambooth.kind=cat",
                                   "--set", "dreambooth.kind_pictures=" + path("apart"), "--set", "optim.lr=0.001"},
                                  kLatents));
  ASSERT_EQ(done.status, 0) << done.err;
  const TensorMap first = load_tensors(path("first/adapter/adapter_model.safetensors")),
                  second = load_tensors(path("second/adapter/adapter_model.safetensors"));
  EXPECT_TRUE(first.at("embeddings").equal(second.at("embeddings")));
  EXPECT_TRUE(second.contains("unet.conv_in.weight"));
  const Finished wrong =
      run(train("dreambooth", "third", {"--set", "dreambooth.from=" + path("first/adapter")}, kPixels));
  EXPECT_EQ(wrong.status, 1);
  EXPECT_THAT(wrong.err, HasSubstr("for weights"));
}

TEST_F(Personalise, ExportsWhatItFound) {
  ASSERT_EQ(run(train("cones", "rows", {"--no-test"})).status, 0);
  ASSERT_EQ(run(train("textual_inversion", "word", {"--no-test"})).status, 0);
  const auto write = [&](const std::string& adapter, const std::string& format, const std::string& out) {
    return run({"model", "export-prompts", "--adapter", path(adapter + "/adapter"), "--format", format, "--placeholder",
                "<toy>", "--out", path(out)});
  };
  ASSERT_EQ(write("rows", "prompt-embeds", "rows.safetensors").status, 0);
  ASSERT_EQ(write("word", "diffusers", "word.safetensors").status, 0);
  EXPECT_TRUE(read_prompt_embeddings(path("rows.safetensors"))
                  .equal(load_tensors(path("rows/adapter/adapter_model.safetensors")).at("embeddings")));
  EXPECT_EQ(read_learned_word(path("word.safetensors")).name, "<toy>");
  const Finished wrong = write("rows", "a1111", "wrong.safetensors");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("'token'"));
}

TEST_F(Personalise, EveryRecipeIsARunOfItsMethodAndSaysWhatItHolds) {
  const std::map<std::string, std::string> held = {{"cones", "asked once, let go before the search"},
                                                   {"textual_inversion", "held and asked in every step"},
                                                   {"dreambooth", "never loaded"}};
  std::size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kRepository / "recipes/personalisation")) {
    const std::string method = entry.path().stem().string();
    const Finished done =
        run({"train", "--task", "generation", "--recipe", entry.path().string(), "--model",
             (kRepository / "models/sketch").string(), "--data", path("toy"), "--out", path(method), "--dry-run"});
    ASSERT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.out, HasSubstr("method: " + method + "\n"));
    EXPECT_THAT(done.out, HasSubstr("text encoder: 2.1 million weights, 9 MB, " + held.at(method)));
    EXPECT_FALSE(std::filesystem::exists(path(method)));
    ++found;
  }
  EXPECT_EQ(found, held.size());
}

TEST_F(Personalise, RefusesWhatDoesNotGoTogether) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--shots", "4"}, "--shots"},
      {{"--set", "cones.start=middle"}, "text, concept or random"},
      {{"--set", R"(concept="")"}, "concept: expected the name"},
      {{"--set", "templates=a cat"}, "templates"},
      {{"--set", "inversion.vectors=2"}, "inversion.vectors"},
  };
  for (const auto& [more, text] : cases) {
    const Finished done = run(train("cones", "wrong", more));
    EXPECT_EQ(done.status, 2) << text;
    EXPECT_THAT(done.err, HasSubstr(text));
  }
  EXPECT_THAT(run(train("coop", "wrong")).err, HasSubstr("expected cones, textual_inversion or dreambooth"));
}

}  // namespace
}  // namespace attune

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/images/decode.h"
#include "tests/cli/program.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kModels = std::string(ATTUNE_SOURCE_DIR) + "/tests/diffusion/data/";

class Generate : public testing::Test {
 protected:
  Finished run(const std::string& model, const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"generate", "--model", kModels + model, "--out", path(out), "--steps", "4",
                                      "--count",  "3",       "--threads",     "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_attune(words, folder_.path());
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string file(const std::string& name) const { return read_file(folder_.path() / name); }

  TemporaryFolder folder_;
};

TEST_F(Generate, WritesPicturesOfATextWithTheirSettings) {
  const Finished done = run("v1", "one", {"--prompt", "a photo of a cat", "--seed", "5", "--json"});
  ASSERT_EQ(done.status, 0) << done.err;
  EXPECT_EQ(std::count(done.out.begin(), done.out.end(), '\n'), 3);
  EXPECT_EQ(parse_json(done.out.substr(0, done.out.find('\n')), "stdout")["path"], path("one/0000.png"));
  EXPECT_THAT(done.err, AllOf(HasSubstr("million weights"), HasSubstr("calls of the network")));
  const Image picture = read_image(path("one/0002.png"));
  EXPECT_EQ(picture.width, 16);
  EXPECT_EQ(picture.height, 16);
  EXPECT_THAT(file("one/0002.png"),
              AllOf(HasSubstr("iTXt"), HasSubstr("a photo of a cat"), HasSubstr("\"picture\":2")));
  const Json settings = parse_json(file("one/settings.json"), "settings");
  EXPECT_EQ(settings["prompt"], "a photo of a cat");
  EXPECT_EQ(settings["scheduler"], "pndm");
  EXPECT_EQ(settings["seed"], 5);
  EXPECT_EQ(settings["prompt_scale"], 7.5);
  EXPECT_EQ(read_image(path("one/sheet.png")).width, 3 * (96 + 4) + 4);

  // The same bits again, and others from another seed.
  ASSERT_EQ(run("v1", "two", {"--prompt", "a photo of a cat", "--seed", "5"}).status, 0);
  for (const char* name : {"0000.png", "0001.png", "0002.png", "sheet.png"}) {
    EXPECT_EQ(file(std::string("two/") + name), file(std::string("one/") + name)) << name;
  }
  ASSERT_EQ(run("v1", "three", {"--prompt", "a photo of a cat", "--seed", "6"}).status, 0);
  EXPECT_NE(read_image(path("three/0000.png")).rgb, read_image(path("one/0000.png")).rgb);
}

TEST_F(Generate, GoesOnWithPicturesThatAreMissing) {
  const std::vector<std::string> words = {"--prompt", "a cat", "--size", "32", "--scheduler", "ddim"};
  ASSERT_EQ(run("v2", "one", words).status, 0);
  const std::string first = file("one/0000.png");
  EXPECT_EQ(read_image(path("one/0000.png")).width, 32);
  fs::remove(folder_.path() / "one/0001.png");
  fs::remove(folder_.path() / "one/sheet.png");
  const Finished again = run("v2", "one", words);
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(file("one/0000.png"), first);
  EXPECT_TRUE(fs::exists(folder_.path() / "one/0001.png"));
  EXPECT_TRUE(fs::exists(folder_.path() / "one/sheet.png"));
  EXPECT_EQ(read_json(path("one/settings.json"))["prompt_scale"], 1.0);  // a model of pixels
  // Pictures of another seed do not go into the same folder.
  const Finished other = run("v2", "one", {"--prompt", "a cat", "--size", "32", "--seed", "9"});
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("other settings"));
}

TEST_F(Generate, WrongInputIsRefusedInOneLine) {
  const auto expect_refused = [&](const std::string& model, const std::vector<std::string>& more,
                                  const std::string& reason) {
    const Finished done = run(model, "out", more);
    EXPECT_NE(done.status, 0);
    EXPECT_THAT(done.err, HasSubstr(reason));
    EXPECT_FALSE(fs::exists(folder_.path() / "out"));
  };
  expect_refused("v1", {}, "--adapter or --prompt");
  expect_refused("v1", {"--prompt", "a {}"}, "place of a learned word");
  expect_refused("v1", {"--prompt", "a cat", "--size", "17"}, "2 divides");
  expect_refused("v1", {"--prompt", "a cat", "--scheduler", "euler"}, "ddim, ddpm, pndm");
  expect_refused("v1", {"--prompt", "a cat", "--precision", "bf16"}, "fp32");
  expect_refused("", {"--prompt", "a cat"}, "model_index.json");
  expect_refused("v1", {"--adapter", path("nothing")}, "adapter_config.json");
  fs::create_directories(folder_.path() / "full" / "of");
  const Finished full = run("v1", "full", {"--prompt", "a cat"});
  EXPECT_EQ(full.status, 2);
  EXPECT_THAT(full.err, HasSubstr("empty folder"));
}

}  // namespace
}  // namespace attune

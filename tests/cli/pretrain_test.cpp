#include <gmock/gmock.h>

#include "attune/base/random.h"
#include "attune/domains/domain_features.h"
#include "attune/images/encode.h"
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

/// Ten small pictures of noise.
void write_pictures(const std::filesystem::path& folder) {
  KeyedRandom random(5, "test.pictures");
  for (int i = 0; i < 10; ++i) {
    Image image{40 + i, 30, {}};
    image.rgb.resize(static_cast<std::size_t>(image.width * image.height * 3));
    for (auto& value : image.rgb) value = static_cast<std::uint8_t>(random.below(256));
    write_file(folder / "deeper" / std::to_string(i).append(".png"), encode_png(image));
  }
}

TEST(PretrainMae, StopsGoesOnWithTheSameBitsAndGivesADomainModelToEmbedWith) {
  const TemporaryFolder folder;
  const std::filesystem::path pictures = folder.path() / "pictures";
  write_pictures(pictures);
  const auto command = [&](const std::string& out, bool resume) {
    std::vector<std::string> words = {
        "pretrain", "mae", "--data", pictures.string(), "--out", (folder.path() / out).string(), "--threads", "1"};
    if (resume) words.emplace_back("--resume");
    for (const char* value : {"image_size=16", "views.side=24", "patch=4", "encoder.width=16", "encoder.layers=1",
                              "decoder.width=8", "decoder.layers=1", "epochs=120", "batch=4"}) {
      words.insert(words.end(), {"--set", value});
    }
    return words;
  };
  const Finished whole = run_attune(command("whole", false), folder.path());
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_THAT(whole.out + whole.err, AllOf(HasSubstr("MB for 10 pictures"), HasSubstr("s for 300 steps")));

  const std::filesystem::path log = folder.path() / "run" / "metrics.jsonl";
  const auto begun = [&] {
    std::error_code none;
    return std::filesystem::file_size(log, none) > 0 && !none;
  };
  const Finished stopped = run_attune(command("run", false), folder.path(), {begun, SIGTERM});
  EXPECT_EQ(stopped.status, 130) << stopped.err;
  const Finished resumed = run_attune(command("run", true), folder.path());
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  const std::filesystem::path model = folder.path() / "run" / "model";
  EXPECT_EQ(read_file(model / "model.safetensors"), read_file(folder.path() / "whole" / "model" / "model.safetensors"));

  const std::filesystem::path features = folder.path() / "features.safetensors";
  const std::vector<std::string> embed = {"embed", "--model",         model.string(), "--images", pictures.string(),
                                          "--out", features.string(), "--tap",        "decoder"};
  const Finished embedded = run_attune(embed, folder.path());
  ASSERT_EQ(embedded.status, 0) << embedded.err;
  const DomainFeatures found(features);
  EXPECT_EQ(found.size(), 10);
  EXPECT_EQ(found.width(), 8);
  EXPECT_NEAR(found.of("deeper/3.png", pictures).norm().item<double>(), 1.0, 1e-5);
  const Finished refused =
      run_attune({"embed", "--model", "pocket", "--images", pictures.string(), "--out", "x.npy", "--tap", "decoder"},
                 folder.path());
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("domain models"));
}

}  // namespace
}  // namespace attune

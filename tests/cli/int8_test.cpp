#include <sstream>

#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/formats/safetensors.h"
#include "attune/images/encode.h"
#include "attune/tensors/processor.h"
#include "attune/tensors/product_kernel.h"
#include "attune/tensors/tensor.h"
#include "tests/cli/program.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Int8 features are refused on processors without dot products of bytes; there, that is what a test sees.
bool has_int8() {
  return product_kernel(ProductType::kInt8) != nullptr;
}

class Int8 : public testing::Test {
 protected:
  Int8() {
    for (int i = 0; i < 12; ++i) {
      KeyedRandom random(1, "int8", static_cast<std::uint64_t>(i));
      Image image{64, 48, {}};
      const std::uint64_t tones[] = {random.below(256) + 1, random.below(256) + 1, random.below(256) + 1};
      for (int p = 0; p < 64 * 48 * 3; ++p) image.rgb.push_back(static_cast<std::uint8_t>(random.below(tones[p % 3])));
      write_file(folder_.path() / "pictures" / (std::to_string(i) + ".png"), encode_png(image));
    }
    write_file(folder_.path() / "texts.txt", "a dog\na drawing of an owl\na cup of tea on a table");
  }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  Finished run(std::vector<std::string> words) const {
    words.insert(words.end(), {"--threads", "1"});
    return run_attune(words, folder_.path());
  }
  Finished embed(const std::string& out, const std::string& precision, const std::vector<std::string>& what,
                 const std::string& model = "pocket") const {
    std::vector<std::string> words = {"embed", "--model", model, "--out", at(out), "--precision", precision, "--json"};
    words.insert(words.end(), what.begin(), what.end());
    return run(words);
  }
  Tensor features(const std::string& out) const { return load_tensors(at(out)).at("features"); }
  std::vector<std::string> pictures() const { return {"--images", at("pictures")}; }

  TemporaryFolder folder_;
};

/// Of what needs the products; what a processor without them is told is tested with Int8.
class Int8Products : public Int8 {
 protected:
  void SetUp() override {
    if (!has_int8()) GTEST_SKIP() << "this processor has no dot products of bytes";
  }
};

/// The smallest cosine between rows of two matrices of unit rows.
double worst_cosine(const Tensor& a, const Tensor& b) {
  return (a * b).sum(1).min().item<double>();
}

/// On 1,950 drawings the worst cosine of pocket's int8 features to its fp32 features was 0.9992 (docs/performance.md),
/// an angle of 2.3 degrees; twice that angle is allowed.
constexpr double kWorstCosine = 0.9968;

TEST_F(Int8, FeaturesOfPicturesAreNearThoseOfFp32AndCachedApart) {
  ASSERT_EQ(embed("fp32.safetensors", "fp32", pictures()).status, 0);
  const Finished found = embed("int8.safetensors", "int8", pictures());
  if (!has_int8()) {
    EXPECT_EQ(found.status, 2);
    EXPECT_THAT(found.err, AllOf(HasSubstr("precision: int8"), HasSubstr("VNNI")));
    return;
  }
  ASSERT_EQ(found.status, 0) << found.err;
  EXPECT_EQ(parse_json(found.out, "embed").at("precision"), "int8");
  const Tensor exact = features("fp32.safetensors"), coarse = features("int8.safetensors");
  EXPECT_GT(worst_cosine(exact, coarse), kWorstCosine);
  EXPECT_GT((exact - coarse).abs().max().item<double>(), 1e-5);  // they are not those of the cache

  // Both from the cache: the pictures, known by their content, are encoded no more.
  ASSERT_EQ(embed("fp32_again.safetensors", "fp32", pictures()).status, 0);
  ASSERT_EQ(embed("int8_again.safetensors", "int8", pictures()).status, 0);
  EXPECT_TRUE(features("fp32_again.safetensors").equal(exact));
  EXPECT_TRUE(features("int8_again.safetensors").equal(coarse));
  ASSERT_EQ(embed("int8_new.safetensors", "int8", {"--images", at("pictures"), "--no-cache"}).status, 0);
  EXPECT_TRUE(features("int8_new.safetensors").equal(coarse));
}

TEST_F(Int8Products, AFileOfFeaturesSaysThatItIsOfInt8) {
  ASSERT_EQ(embed("fp32.safetensors", "fp32", pictures()).status, 0);
  ASSERT_EQ(embed("int8.safetensors", "int8", pictures()).status, 0);
  const auto exact = SafetensorsFile(at("fp32.safetensors")).metadata();
  const auto coarse = SafetensorsFile(at("int8.safetensors")).metadata();
  EXPECT_EQ(exact.at("precision"), "fp32");
  EXPECT_EQ(coarse.at("precision"), "int8");
  EXPECT_NE(coarse.at("encoder"), exact.at("encoder"));
}

TEST_F(Int8Products, TextsAndDomainModelsTakeItToo) {
  const std::string domain_model = std::string(ATTUNE_SOURCE_DIR) + "/tests/domains/data/vit_mae";
  const std::pair<std::string, std::vector<std::string>> cases[] = {{"pocket", {"--texts", at("texts.txt")}},
                                                                    {domain_model, pictures()}};
  for (const auto& [model, what] : cases) {
    ASSERT_EQ(embed("exact.safetensors", "fp32", what, model).status, 0);
    const Finished found = embed("coarse.safetensors", "int8", what, model);
    ASSERT_EQ(found.status, 0) << found.err;
    const Tensor exact = features("exact.safetensors"), coarse = features("coarse.safetensors");
    EXPECT_GT(worst_cosine(exact, coarse), kWorstCosine) << model;
    EXPECT_FALSE(coarse.equal(exact)) << model;
  }
}

TEST_F(Int8Products, BenchMeasuresTowersAndSaysThatStepsHaveNoGradients) {
  const Finished found = run({"bench", "--model", "pocket", "--precision", "int8", "--json", "--rounds", "1", "--parts",
                              "frozen_linear,image_tower,training_step"});
  ASSERT_EQ(found.status, 0) << found.err;
  std::istringstream lines(found.out);
  int towers = 0, layers = 0;
  bool steps_refused = false;
  for (std::string text; std::getline(lines, text);) {
    const Json line = parse_json(text, "bench");
    const auto part = line.at("part").get<std::string>();
    if (part == "machine") EXPECT_EQ(line.at("precision"), "int8");
    if (part == "image_tower") ++towers;
    if (part == "frozen_linear") ++layers;
    if (part == "image_tower" || part == "frozen_linear") EXPECT_LE(line.at("share_of_peak"), 1.2) << line;
    if (part == "training_step") steps_refused = line.at("skipped") == "int8 products have no gradients";
  }
  EXPECT_EQ(towers, 3);
  EXPECT_EQ(layers, 4);  // forward alone
  EXPECT_TRUE(steps_refused);
}

TEST_F(Int8, WhatLearnsOrAnswersRefusesIt) {
  const std::vector<std::vector<std::string>> refusing = {
      {"train", "--model", "pocket", "--data", at("pictures"), "--out", at("run")},
      {"eval", "--model", "pocket", "--data", at("pictures")},
      {"predict", "--model", "pocket", "--classes", "dog,owl", at("pictures/0.png")},
      {"study", "--model", "pocket", "--data", at("pictures"), "--out", at("study")},
      {"explain", "--model", "pocket", "--adapter", at("run")}};
  for (std::vector<std::string> words : refusing) {
    const std::string verb = words[0];
    words.insert(words.end(), {"--precision", "int8"});
    const Finished found = run(words);
    EXPECT_EQ(found.status, 2) << verb;
    EXPECT_THAT(found.err, HasSubstr(has_int8() ? "int8 is for features alone" : "int8")) << verb;
  }
  EXPECT_FALSE(std::filesystem::exists(at("run")));
  EXPECT_FALSE(std::filesystem::exists(at("study")));
}

}  // namespace
}  // namespace attune

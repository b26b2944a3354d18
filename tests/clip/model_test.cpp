#include "attune/clip/model.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"
#include "attune/clip/weights.h"
#include "tests/support/mutations.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing_support::kData;

namespace fs = std::filesystem;

double relative_error(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.sizes(), expected.sizes());
  return ((found - expected).norm() / expected.norm()).item<double>();
}

struct Oracle {
  ClipModel model;
  TensorMap expected;
  std::vector<std::string> sentences;

  explicit Oracle(const fs::path& folder)
      : model(load_model(folder.string())),
        expected(load_tensors(folder / "expected.safetensors")),
        sentences(read_json(folder / "sentences.json").get<std::vector<std::string>>()) {}
};

struct FolderParity : testing::TestWithParam<std::string> {
  Oracle oracle{kData / GetParam()};
};

TEST_P(FolderParity, TextFeatures) {
  const auto& [model, expected, sentences] = oracle;
  const at::NoGradGuard frozen;
  EXPECT_LT(relative_error(model.text->encode(sentence_prompts(model, sentences))[0], expected.at("text")), 1e-5);
  const Tensor unit = expected.at("text") / expected.at("text").norm(2, -1, true);
  EXPECT_LT(relative_error(encode_sentences(model, sentences), unit), 1e-5);
}

TEST_P(FolderParity, SharedBeginningsLeaveFeaturesAsTheyAre) {
  const auto& [model, expected, sentences] = oracle;
  const at::NoGradGuard frozen;
  std::vector<std::string> many = sentences;
  for (const char* name : {"dog", "cat on a mat", "owl", "a", "photo", "big dog", "o", "dog dog dog", "cat", "mat"}) {
    for (const char* before : {"a photo of a ", "a big photo of the ", "the ", "", "a photo of a big "}) {
      for (const char* behind : {".", " on a mat.", ""}) many.push_back(std::string(before) + name + behind);
    }
  }
  const Tensor found = encode_sentences(model, many);
  for (std::size_t i = 0; i < many.size(); ++i) {
    const Tensor alone = model.text->encode(sentence_prompts(model, {many[i]}))[0][0];
    EXPECT_LT(relative_error(found[static_cast<std::int64_t>(i)], alone / alone.norm()), 1e-5) << many[i];
  }
}

TEST_P(FolderParity, ImageFeatures) {
  const auto& [model, expected, sentences] = oracle;
  const at::NoGradGuard frozen;
  EXPECT_LT(relative_error(model.image->encode(expected.at("pixels")).global, expected.at("image")), 1e-5);
  const auto both = model.image->encode(expected.at("pixels"), {}, true);
  EXPECT_LT(relative_error(both.global, expected.at("image")), 1e-5);
  if (expected.contains("local")) EXPECT_LT(relative_error(both.local, expected.at("local")), 1e-5);
}

TEST_P(FolderParity, GradientOfAContextEqualsThePaddedComputation) {
  const auto& [model, expected, sentences] = oracle;
  const Tensor context = expected.at("context").clone().set_requires_grad(true);
  Prompts prompts = sentence_prompts(model, sentences);
  prompts.prefix = at::cat({prompts.prefix, context.unsqueeze(0)}, 1);
  const Tensor features = model.text->encode(prompts)[0];
  EXPECT_LT(relative_error(features, expected.at("context_features")), 1e-5);
  (features * expected.at("projection")).sum().backward();
  EXPECT_LT(relative_error(context.grad(), expected.at("context_gradient")), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Models, FolderParity,
                         testing::Values("hf_quick", "hf_gelu", "open_clip_vit", "open_clip_resnet"));

// Run by parity_full.py, which makes models of the published sizes.
TEST(FullSizeSlow, ModelAgreesWithItsOracle) {
  const char* folder = std::getenv("ATTUNE_PARITY_FOLDER");
  if (folder == nullptr) GTEST_SKIP() << "ATTUNE_PARITY_FOLDER is not set; tests/clip/parity_full.py sets it";
  const Oracle oracle{fs::path(folder)};
  const auto& [model, expected, sentences] = oracle;
  const Tensor context = expected.at("context").clone().set_requires_grad(true);
  Prompts prompts = sentence_prompts(model, sentences);
  const double text = relative_error(model.text->encode(prompts)[0], expected.at("text"));
  const double image = relative_error(model.image->encode(expected.at("pixels")).global, expected.at("image"));
  prompts.prefix = at::cat({prompts.prefix, context.unsqueeze(0)}, 1);
  (model.text->encode(prompts)[0] * expected.at("projection")).sum().backward();
  const double gradient = relative_error(context.grad(), expected.at("context_gradient"));
  std::printf("relative error: text %.1e, image %.1e, gradient of a context %.1e\n", text, image, gradient);
  EXPECT_LT(text, 1e-5);
  EXPECT_LT(image, 1e-5);
  EXPECT_LT(gradient, 1e-5);
}

TEST(ModelFolder, SaysWhatItsFilesSay) {
  const auto quick = load_model((kData / "hf_quick").string());
  EXPECT_EQ(quick.config.name, "hf_quick");
  EXPECT_EQ(quick.config.text.pooling, Pooling::kLargestId);
  EXPECT_EQ(quick.config.text.activation, Activation::kQuickGelu);
  EXPECT_EQ(quick.config.vision.patch, 8);
  EXPECT_EQ(quick.preprocess.crop, CropConvention::kHuggingFace);
  EXPECT_NEAR(quick.logit_scale, 14.28, 0.05);
  const auto gelu = load_model((kData / "hf_gelu").string());
  EXPECT_EQ(gelu.config.text.pooling, Pooling::kFirstEnd);
  EXPECT_EQ(gelu.config.vision.activation, Activation::kGelu);
  const auto resnet = load_model((kData / "open_clip_resnet").string());
  EXPECT_EQ(resnet.config.vision.kind, VisionConfig::Kind::kResNet);
  EXPECT_EQ(resnet.config.vision.stages, (std::vector<std::int64_t>{1, 2, 1, 1}));
  EXPECT_EQ(resnet.preprocess.crop, CropConvention::kTorchvision);
  EXPECT_FLOAT_EQ(resnet.preprocess.mean[0], 0.5F);
}

TEST(ModelFolder, LoadsOnlyWhatIsAskedFor) {
  const auto folder = (kData / "hf_gelu").string();
  const auto text = load_model(folder, {.image = false});
  EXPECT_TRUE(text.text && !text.image);
  const auto image = load_model(folder, {.text = false});
  EXPECT_TRUE(image.image && !image.text);
  EXPECT_THROW(sentence_prompts(image, {"a"}), Error);
  EXPECT_EQ(text.weight_hash(), sha256_of_file(kData / "hf_gelu" / "model.safetensors"));
}

TEST(ModelFolder, ShipsByNameFromTheFolderOfModels) {
  const TemporaryFolder models;
  fs::copy(kData / "hf_gelu", models.path() / "pocket");
  setenv("ATTUNE_MODELS", models.path().c_str(), 1);
  EXPECT_EQ(load_model("pocket").config.name, "pocket");
  unsetenv("ATTUNE_MODELS");
}

struct BrokenFolder : testing::Test {
  TemporaryFolder temporary;
  fs::path folder = temporary.path() / "model";
  BrokenFolder() { fs::copy(kData / "hf_gelu", folder); }

  void change(const std::string& file, const std::function<void(Json&)>& edit) {
    Json json = read_json(folder / file);
    edit(json);
    write_json(folder / file, json);
  }
  std::string error() const {
    try {
      load_model(folder.string());
    } catch (const Error& caught) {
      return caught.what();
    }
    return "no error";
  }
  void expect_error(const std::string& part) const { EXPECT_NE(error().find(part), std::string::npos) << error(); }
};

TEST_F(BrokenFolder, MissingFilesAreNamed) {
  fs::remove(folder / "config.json");
  expect_error("config.json or open_clip_config.json");
  fs::copy(kData / "hf_gelu/config.json", folder / "config.json");
  fs::remove(folder / "model.safetensors");
  expect_error("model.safetensors");
  fs::remove_all(folder);
  expect_error("expected a model folder, 'pocket' or hf-hub:");
}

TEST_F(BrokenFolder, MissingAndMisshapenTensorsAreNamed) {
  auto tensors = load_tensors(folder / "model.safetensors");
  const std::string name = "text_model.encoder.layers.1.mlp.fc2.bias";
  const Tensor bias = tensors.at(name);
  tensors.erase(name);
  save_tensors(folder / "model.safetensors", tensors);
  expect_error("expected a tensor '" + name + "' of shape [32], found none");
  tensors[name] = at::zeros({31});
  save_tensors(folder / "model.safetensors", tensors);
  expect_error("expected '" + name + "' to have the shape [32], found [31]");
  tensors[name] = at::zeros({32}, at::kInt);
  save_tensors(folder / "model.safetensors", tensors);
  expect_error("floating-point");
  tensors[name] = bias;
  tensors.erase("logit_scale");
  save_tensors(folder / "model.safetensors", tensors);
  expect_error("logit_scale");
}

/// A folder whose weights lie in two shards, as transformers writes models that exceed its limit a file.
struct ShardedFolder : BrokenFolder {
  const fs::path index = folder / "model.safetensors.index.json";
  const std::string first = "model-00001-of-00002.safetensors", second = "model-00002-of-00002.safetensors";
  TensorMap shards[2];

  ShardedFolder() {
    Json map = Json::object();
    for (const auto& [name, tensor] : load_tensors(folder / "model.safetensors")) {
      const bool late = map.size() % 2 == 1;
      shards[late][name] = tensor;
      map[name] = late ? second : first;
    }
    fs::remove(folder / "model.safetensors");
    save_tensors(folder / first, shards[0], {{"format", "pt"}});
    save_tensors(folder / second, shards[1], {{"format", "pt"}});
    write_json(index, {{"metadata", {{"total_size", 0}}}, {"weight_map", map}});
  }
};

TEST_F(ShardedFolder, HoldsTheSameModel) {
  const auto whole = load_model((kData / "hf_gelu").string());
  const auto sharded = load_model(folder.string());
  const std::vector<std::string> sentences = {"a cat", "two dogs"};
  EXPECT_TRUE(at::equal(encode_sentences(sharded, sentences), encode_sentences(whole, sentences)));
  const Tensor pixels = at::linspace(-1, 1, 3 * 32 * 32).view({1, 3, 32, 32});
  EXPECT_TRUE(at::equal(sharded.image->encode(pixels).global, whole.image->encode(pixels).global));
  EXPECT_EQ(sharded.weight_hash(), sha256(sha256_of_file(folder / first) + sha256_of_file(folder / second)));
}

TEST_F(ShardedFolder, WhatItsIndexPromisesMustBeThere) {
  const std::string name = shards[1].begin()->first;
  fs::remove(folder / second);
  expect_error("index.json: expected the shard " + second);
  shards[1].erase(name);
  save_tensors(folder / second, shards[1]);
  expect_error(name);
  expect_error(second);
  change(index.filename(), [&](Json& json) { json["weight_map"].erase(name); });
  expect_error("index.json: expected");
  expect_error(name);
}

TEST_F(ShardedFolder, ItsIndexStaysInTheFolder) {
  const std::string name = shards[0].begin()->first;
  fs::copy(folder / first, temporary.path() / "outside.safetensors");
  for (const std::string& file : std::vector<std::string>{"../outside.safetensors", "./" + first,
                                                          temporary.path() / "outside.safetensors", ".."}) {
    change(index.filename(), [&](Json& json) { json["weight_map"][name] = file; });
    expect_error("expected the name of a file beside the index, found \"" + file);
  }
}

TEST_F(BrokenFolder, HostileConfigurationsAreErrors) {
  const auto with = [&](const char* part, const char* key, const Json& value) {
    fs::copy_file(kData / "hf_gelu/config.json", folder / "config.json", fs::copy_options::overwrite_existing);
    change("config.json", [&](Json& json) { (part == nullptr ? json : json[part])[key] = value; });
  };
  with("text_config", "num_hidden_layers", 1e15);
  EXPECT_THROW(load_model(folder.string()), Error);
  with("text_config", "num_hidden_layers", -1);
  expect_error("'num_hidden_layers' between 1 and 1000000");
  with("text_config", "num_attention_heads", 5);
  expect_error("that 5 heads divide");
  with("text_config", "hidden_act", "relu");
  expect_error("'hidden_act'");
  with("vision_config", "patch_size", 64);
  expect_error("patch no larger than the image");
  with("vision_config", "hidden_size", "wide");
  expect_error("hidden_size");
  with(nullptr, "vision_config", 3);
  expect_error("vision_config");
  with(nullptr, "model_type", "siglip");
  expect_error("'model_type' clip, found 'siglip'");
}

TEST_F(BrokenFolder, DamagedDescriptionsAreReadOrRefusedWithAnError) {
  const std::map<std::string, std::string> source_of = {{"config.json", "hf_gelu"},
                                                        {"preprocessor_config.json", "hf_gelu"},
                                                        {"open_clip_config.json", "open_clip_resnet"}};
  for (const auto& entry : source_of) {
    fs::remove_all(folder);
    fs::copy(kData / entry.second, folder);
    const fs::path file = folder / entry.first;
    if (!fs::exists(file)) write_json(file, {{"size", {{"shortest_edge", 32}}}, {"crop_size", 32}});
    const Json good = read_json(file);
    const int refused = refusals(150, [&](KeyedRandom& random) {
      std::ofstream(file, std::ios::binary) << damaged(good, random).dump();
      load_model(folder.string());
    });
    EXPECT_GT(refused, 20) << file;
  }
}

TEST_F(BrokenFolder, ImageSizesThatDisagreeAreErrors) {
  write_json(folder / "preprocessor_config.json", {{"size", {{"shortest_edge", 224}}}});
  expect_error("'size' to be the model's image size of 32, found 224");
  write_json(folder / "preprocessor_config.json", {{"size", 32}, {"resample", 0}});
  expect_error("resample");
}

TEST(SentencePrompts, TooLongIsAnErrorUnlessTruncated) {
  const auto model = load_model((kData / "hf_gelu").string());
  std::string lengthy;
  for (int i = 0; i < 90; ++i) lengthy += "x ";
  EXPECT_THROW(sentence_prompts(model, {"short", lengthy}), Error);
  const auto prompts = sentence_prompts(model, {"short", lengthy}, true);
  EXPECT_EQ(prompts.end[1].item<std::int64_t>(), 75);
  EXPECT_EQ(encode_sentences(model, {}).sizes(), (at::IntArrayRef{0, 24}));
}

TEST(WrittenFolder, LoadsAgainWithTheSameFeatures) {
  const auto model = load_model((kData / "hf_gelu").string());
  const NamedTensors source{load_tensors(kData / "hf_gelu/model.safetensors"), "hf_gelu"};
  TensorMap parameters = parameters_of(trainable_text_weights(model.config, source));
  parameters.merge(parameters_of(trainable_vit_weights(model.config, source)));
  const TemporaryFolder folder;
  write_hugging_face_folder(folder.path(),
                            {.config = model.config,
                             .preprocess = model.preprocess,
                             .start = 638,
                             .end = 639,
                             .logit_scale = model.logit_scale,
                             .tokenizer = kData / "hf_gelu/tokenizer.json"},
                            parameters, at::kHalf);
  const auto again = load_model(folder.path().string());
  EXPECT_EQ(again.preprocess, model.preprocess);
  EXPECT_EQ(again.config.text.pooling, Pooling::kFirstEnd);
  EXPECT_NEAR(again.logit_scale, model.logit_scale, 0.02);
  const std::vector<std::string> sentences = {"a cat", "two dogs"};
  EXPECT_TRUE(at::equal(encode_sentences(again, sentences), encode_sentences(model, sentences)));
  const Tensor pixels = at::linspace(-1, 1, 3 * 32 * 32).view({1, 3, 32, 32});
  EXPECT_TRUE(at::equal(again.image->encode(pixels).global, model.image->encode(pixels).global));
  const auto names = load_tensors(folder.path() / "model.safetensors");
  for (const auto& [name, tensor] : source.tensors) {
    ASSERT_TRUE(names.contains(name)) << name;
    EXPECT_EQ(names.at(name).sizes(), tensor.sizes()) << name;
  }
  EXPECT_EQ(names.size(), source.tensors.size());
}

}  // namespace
}  // namespace attune

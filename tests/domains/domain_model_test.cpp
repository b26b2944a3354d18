#include "attune/domains/domain_model.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/domains/domain_features.h"
#include "tests/support/error_of.h"
#include "tests/support/mutations.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::kData;

const TensorMap& expected() {
  static const TensorMap kExpected = load_tensors(kData / "expected.safetensors");
  return kExpected;
}

DomainOptions with(DomainPooling pooling, DomainTap tap = DomainTap::kEncoder) {
  DomainOptions options;
  options.pooling = pooling;
  options.tap = tap;
  return options;
}

void expect_same(const std::string& folder, const DomainOptions& options, const std::string& name,
                 const std::string& pixels = "pixels") {
  const auto model = load_domain_model(kData / folder, options);
  const Tensor& features = expected().at(name);
  EXPECT_EQ(model->width(), features.size(1)) << name;
  const Tensor found = model->encode(expected().at(pixels));
  ASSERT_EQ(found.sizes(), features.sizes()) << name;
  EXPECT_LE((found - features).abs().max().item<double>(), 1e-5 * features.abs().max().item<double>()) << name;
}

TEST(DomainModelParity, Vit) {
  expect_same("vit", {}, "vit.class");
  expect_same("vit", with(DomainPooling::kMean), "vit.mean");
  expect_same("vit", with(DomainPooling::kOwn, DomainTap::kClassifier), "vit.classifier");
}

TEST(DomainModelParity, VitWithoutPrefixAndWithoutBiases) {
  expect_same("vit_bare", {}, "vit_bare.class");
}

TEST(DomainModelParity, VitMaeWithoutAMask) {
  expect_same("vit_mae", {}, "vit_mae.mean");
  expect_same("vit_mae", with(DomainPooling::kClassToken), "vit_mae.class");
  expect_same("vit_mae", with(DomainPooling::kOwn, DomainTap::kDecoder), "vit_mae.decoder");
}

TEST(DomainModelParity, Dinov2AtAnotherSizeThanItsPositions) {
  expect_same("dinov2", {}, "dinov2.class");
  expect_same("dinov2", with(DomainPooling::kMean), "dinov2.mean");
}

TEST(DomainModelParity, SamWithWindowsThatNeedPadding) {
  expect_same("sam", {}, "sam.mean", "sam.pixels");
}

TEST(DomainModel, APictureHasTheSameFeatureInEveryBatch) {
  for (const char* folder : {"vit", "vit_mae", "dinov2"}) {
    const auto model = load_domain_model(kData / folder);
    const Tensor pixels = expected().at("pixels").repeat({4, 1, 1, 1}), all = model->encode(pixels);
    for (std::int64_t i = 0; i < pixels.size(0); i += 5) {
      EXPECT_LE((model->encode(pixels.narrow(0, i, 1)) - all.narrow(0, i, 1)).abs().max().item<double>(), 1e-5);
    }
    EXPECT_EQ(model->encode(pixels.narrow(0, 0, 0)).sizes(), at::IntArrayRef({0, model->width()}));
  }
}

TEST(DomainModel, KeysTellApartWhatGivesOtherFeatures) {
  std::set<std::string> keys;
  for (const char* folder : {"vit", "vit_bare", "vit_mae", "dinov2", "sam"}) {
    keys.insert(load_domain_model(kData / folder)->key());
  }
  keys.insert(load_domain_model(kData / "vit_mae", with(DomainPooling::kClassToken))->key());
  keys.insert(load_domain_model(kData / "vit_mae", with(DomainPooling::kOwn, DomainTap::kDecoder))->key());
  EXPECT_EQ(keys.size(), 7);
  EXPECT_EQ(load_domain_model(kData / "vit_mae", with(DomainPooling::kMean))->key(),
            load_domain_model(kData / "vit_mae")->key());
}

TEST(DomainModel, TakesItsViewFromTheFolder) {
  const auto model = load_domain_model(kData / "dinov2");
  EXPECT_EQ(model->preprocess().size, 32);
  EXPECT_EQ(model->preprocess().filter, Filter::kBicubic);
  EXPECT_FLOAT_EQ(model->preprocess().mean[0], 0.485F);
  EXPECT_EQ(load_domain_model(kData / "sam")->preprocess().size, 80);
  EXPECT_TRUE(is_domain_folder(kData / "sam"));
  EXPECT_FALSE(is_domain_folder(kData));
}

TEST(DomainModel, NamesWhatAModelDoesNotHave) {
  const auto load = [](const char* folder, const DomainOptions& options) {
    return error_of([&] { load_domain_model(kData / folder, options); });
  };
  EXPECT_THAT(load("sam", with(DomainPooling::kClassToken)), HasSubstr("no class token"));
  EXPECT_THAT(load("sam", with(DomainPooling::kOwn, DomainTap::kDecoder)), HasSubstr("tap encoder"));
  EXPECT_THAT(load("vit", with(DomainPooling::kOwn, DomainTap::kDecoder)), HasSubstr("expected a vit_mae"));
  EXPECT_THAT(load("vit_mae", with(DomainPooling::kOwn, DomainTap::kClassifier)), HasSubstr("classifier.weight"));
  EXPECT_THAT(load("nowhere", {}), HasSubstr("expected the folder of a domain model"));
  const auto model = load_domain_model(kData / "vit");
  EXPECT_THAT(error_of([&] { model->encode(at::zeros({1, 3, 31, 32})); }), HasSubstr("[B, 3, 32, 32]"));
}

/// A copy of a folder that a test may spoil.
struct Copy {
  explicit Copy(const std::string& name) {
    fs::copy(kData / name, folder.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }
  std::string error() const {
    return error_of([&] { load_domain_model(folder.path()); });
  }
  void set(const char* file, const char* key, const Json& value) const {
    Json json = read_json(folder.path() / file);
    json[key] = value;
    write_json(folder.path() / file, json);
  }
  TemporaryFolder folder;
};

TEST(DomainModel, BrokenFoldersNameFileAndExpectation) {
  Copy unknown("vit");
  unknown.set("config.json", "model_type", "beit");
  EXPECT_THAT(unknown.error(), AllOf(HasSubstr("config.json"), HasSubstr("vit, vit_mae, dinov2"), HasSubstr("'beit'")));
  Copy wider("vit_mae");
  wider.set("config.json", "hidden_size", 48);
  EXPECT_THAT(wider.error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("cls_token"), HasSubstr("[1, 1, 48]")));
  Copy deeper("dinov2");
  deeper.set("config.json", "num_hidden_layers", 1000000);
  EXPECT_THAT(deeper.error(), HasSubstr("encoder.layer.2."));
  Copy swiglu("dinov2");
  swiglu.set("config.json", "use_swiglu_ffn", true);
  EXPECT_THAT(swiglu.error(), HasSubstr("use_swiglu_ffn"));
  Copy large("dinov2");
  large.set("preprocessor_config.json", "crop_size", 1000000);
  EXPECT_THAT(large.error(), AllOf(HasSubstr("preprocessor_config.json"), HasSubstr("patches")));
  Copy other_size("vit");
  other_size.set("preprocessor_config.json", "size", 64);
  EXPECT_THAT(other_size.error(), HasSubstr("image size of 32, found 64"));
  Copy bare("sam");
  fs::remove(bare.folder.path() / "model.safetensors");
  EXPECT_THAT(bare.error(), HasSubstr("expected model.safetensors"));
  Copy no_processor("sam");
  fs::remove(no_processor.folder.path() / "preprocessor_config.json");
  EXPECT_THAT(no_processor.error(), HasSubstr("preprocessor_config.json"));
}

TEST(DomainModel, DamagedFoldersLoadOrSayWhy) {
  for (const char* name : {"vit", "vit_mae", "dinov2", "sam"}) {
    const Copy copy(name);
    const auto pixels = expected().at(std::string(name) == "sam" ? "sam.pixels" : "pixels");
    const auto use = [&] { load_domain_model(copy.folder.path())->encode(pixels); };
    for (const char* file : {"config.json", "preprocessor_config.json"}) {
      const Json good = read_json(kData / name / file);
      EXPECT_GT(refusals(60,
                         [&](KeyedRandom& random) {
                           write_json(copy.folder.path() / file, damaged(good, random));
                           use();
                         }),
                5)
          << name << " " << file;
      write_json(copy.folder.path() / file, good);
    }
    const std::string good = read_file(kData / name / "model.safetensors");
    EXPECT_GT(refusals(40,
                       [&](KeyedRandom& random) {
                         // Most of a file is weights; only its header can be wrong.
                         const std::size_t header = 4096;
                         write_file(copy.folder.path() / "model.safetensors",
                                    damaged(good.substr(0, header), random) + good.substr(header));
                         use();
                       }),
              20)
        << name;
  }
}

TEST(DomainFeatures, FindsRowsByPath) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "features.safetensors";
  const Tensor features = at::arange(6, at::kFloat).view({3, 2});
  save_tensors(file, {{"features", features}}, {{"paths", R"(["a/x.png", "/data/b/y.png", "./a/z.png"])"}});
  const DomainFeatures found(file);
  EXPECT_EQ(found.width(), 2);
  EXPECT_TRUE(found.of("a/x.png", "/data").equal(features[0]));
  EXPECT_TRUE(found.of("/data/a/x.png", "/data").equal(features[0]));
  EXPECT_TRUE(found.of("b/y.png", "/data").equal(features[1]));
  EXPECT_TRUE(found.of("/data/a/../a/z.png", "/data").equal(features[2]));
  EXPECT_THAT(error_of([&] { found.of("c.png", "/data"); }),
              AllOf(HasSubstr("features.safetensors"), HasSubstr("c.png")));
}

TEST(DomainFeatures, FindsRowsByContentWhereverThePictureLies) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "features.safetensors", picture = folder.path() / "x.png";
  write_file(picture, "the bytes");
  const ContentId id = content_id(picture), other = content_id(kData / "expected.safetensors");
  EXPECT_EQ(content_id_of_hex(hex_of(id)), id);
  const Tensor features = at::arange(6, at::kFloat).view({3, 2});
  save_tensors(file, {{"features", features}}, domain_features_metadata({"a", "b", "c"}, {other, id, id}, "encoder 7"));
  const DomainFeatures found(file);
  EXPECT_TRUE(found.by_content());
  EXPECT_EQ(found.key(), "encoder 7");
  EXPECT_TRUE(found.of(id, picture).equal(features[1]));
  write_file(picture, "other bytes");
  EXPECT_THAT(error_of([&] { found.of(content_id(picture), picture); }),
              AllOf(HasSubstr("features.safetensors"), HasSubstr("x.png"), HasSubstr("bytes")));
}

TEST(DomainFeatures, AFolderOrAFileIsOpenedAndAnythingElseNamed) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "features.safetensors";
  save_tensors(file, {{"features", at::ones({1, 3})}}, {{"paths", R"(["a"])"}});
  EXPECT_EQ(open_domain_model(file)->width(), 3);
  EXPECT_EQ(open_domain_model(file)->key(), "");
  EXPECT_EQ(open_domain_model(kData / "vit_mae")->key(), load_domain_model(kData / "vit_mae")->key());
  EXPECT_THAT(error_of([&] { open_domain_model(folder.path() / "none"); }), HasSubstr("none: expected the folder"));
  fs::create_directories(folder.path() / "run" / "model");
  write_file(folder.path() / "run" / "model" / "config.json", "{}");
  EXPECT_THAT(error_of([&] { open_domain_model(folder.path() / "run"); }), HasSubstr("its model is"));
  write_file(file, "no tensors");
  EXPECT_THAT(error_of([&] { open_domain_model(file); }), HasSubstr("features.safetensors"));
}

TEST(DomainFeatures, RefusesWhatDoesNotFit) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "features.safetensors";
  const auto error = [&](const Tensor& features, const char* paths) {
    save_tensors(file, {{"features", features}}, {{"paths", paths}});
    return error_of([&] { DomainFeatures{file}; });
  };
  const Tensor good = at::ones({2, 3});
  EXPECT_EQ(error(good, R"(["a", "b"])"), "");
  EXPECT_THAT(error(good, R"(["a"])"), HasSubstr("2 paths"));
  EXPECT_THAT(error(good, R"(["a", "./a"])"), HasSubstr("every path once"));
  EXPECT_THAT(error(good, R"(["a", 1])"), HasSubstr("expected paths"));
  EXPECT_THAT(error(good, "{"), HasSubstr("paths"));
  EXPECT_THAT(error(good.log() / good.log(), R"(["a", "b"])"), HasSubstr("finite"));
  EXPECT_THAT(error(at::ones({3}), "[]"), HasSubstr("[pictures, width]"));
  EXPECT_THAT(error(at::ones({2, 3}, at::kLong), "[]"), HasSubstr("floating-point"));
  save_tensors(file, {{"features", good}}, {{"contents", R"(["a", "b"])"}});
  EXPECT_THAT(error_of([&] { DomainFeatures{file}; }), AllOf(HasSubstr("contents"), HasSubstr("SHA-256")));
  save_tensors(file, {{"features", good}}, {{"contents", "[]"}});
  EXPECT_THAT(error_of([&] { DomainFeatures{file}; }), HasSubstr("2 contents"));
  save_tensors(file, {{"features", good}});
  EXPECT_THAT(error_of([&] { DomainFeatures{file}; }), HasSubstr("found neither"));
  save_tensors(file, {{"other", good}});
  EXPECT_THAT(error_of([&] { DomainFeatures{file}; }), HasSubstr("features"));
}

}  // namespace
}  // namespace attune

#include "attune/diffusion/text_encoder.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "tests/support/close.h"
#include "tests/support/error_of.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::expect_close;
using testing_support::kData;

class StoredText : public testing::TestWithParam<const char*> {};

TEST_P(StoredText, IdsRowsAndGradientsAreThoseOfTransformersParity) {
  const fs::path folder = kData / GetParam();
  const TensorMap expected = load_tensors(folder / "text.safetensors");
  const TextEncoder encoder = TextEncoder::load(folder);
  const auto sentences = read_json(folder / "sentences.json").get<std::vector<std::string>>();
  EXPECT_TRUE(encoder.ids(sentences).equal(expected.at("ids")));
  expect_close(encoder.encode(sentences), expected.at("rows"), 1e-5, "rows");
  const Tensor embedded = encoder.embed(expected.at("ids")).detach().set_requires_grad(true);
  (encoder.encode(embedded) * expected.at("weight")).sum().backward();
  expect_close(embedded.grad(), expected.at("gradient"), 1e-4, "gradient");
}

INSTANTIATE_TEST_SUITE_P(Forms, StoredText, testing::Values("v1", "v2"));

TEST(TextEncoder, RowsDoNotSeeWhatComesAfterThem) {
  const TextEncoder encoder = TextEncoder::load(kData / "v1");
  const Tensor embedded = encoder.embed(encoder.ids({"a photo of a cat"}));
  const Tensor whole = encoder.encode(embedded), begun = encoder.encode(embedded.narrow(1, 0, 4));
  expect_close(begun, whole.narrow(1, 0, 4), 1e-5, "first rows");
}

TEST(TextEncoder, WhatIsWrongIsNamed) {
  const TextEncoder encoder = TextEncoder::load(kData / "v1");
  const std::string longer = "a photo of a cat a photo of a cat a photo of a cat a photo of a cat";
  EXPECT_THAT(error_of([&] { encoder.ids({longer}); }), HasSubstr(longer));
  EXPECT_THAT(error_of([&] { encoder.encode(at::zeros({1, 25, 12})); }), HasSubstr("[1, 25, 12]"));
  const TemporaryFolder folder;
  fs::copy(kData / "v1", folder.path(), fs::copy_options::recursive);
  write_file(folder.path() / "tokenizer" / "special_tokens_map.json", R"({"pad_token": "<none>"})");
  EXPECT_THAT(error_of([&] { TextEncoder::load(folder.path()); }), HasSubstr("<none>"));
  Json config = read_json(folder.path() / "text_encoder" / "config.json");
  config["model_type"] = "t5";
  write_json(folder.path() / "text_encoder" / "config.json", config);
  EXPECT_THAT(error_of([&] { TextEncoder::load(folder.path()); }), HasSubstr("t5"));
}

TEST(TextEncoder, TheTextSideOfAClipIsWritten) {
  const TemporaryFolder folder;
  const fs::path clip = fs::path(ATTUNE_SOURCE_DIR) / "tests" / "clip" / "data" / "hf_gelu";
  write_text_encoder(clip, folder.path(), at::kFloat);
  const TextEncoder encoder = TextEncoder::load(folder.path());
  LoadOptions options;
  options.image = false;
  const ClipModel model = load_model(clip.string(), options);
  EXPECT_EQ(encoder.config().width, model.config.text.width);
  EXPECT_EQ(encoder.padding(), encoder.tokenizer().end());
  // Rows of the end token, pushed through the projection, are the tower's features.
  const TensorMap tensors = load_tensors(clip / "model.safetensors");
  const Tensor ids = encoder.ids({"a cat"});
  const Tensor end = (ids[0] == encoder.tokenizer().end()).to(at::kInt).argmax();
  const Tensor row = encoder.encode(std::vector<std::string>{"a cat"})[0].index({end});
  expect_close(at::linear(row, tensors.at("text_projection.weight").to(at::kFloat)),
               sentence_features(model, {"a cat"})[0], 1e-4, "feature");
}

}  // namespace
}  // namespace attune

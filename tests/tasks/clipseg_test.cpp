#include "attune/tasks/clipseg.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "tests/support/close.h"
#include "tests/support/mutations.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;
using testing_support::largest_difference;

const std::vector<std::string> kSentences = {"a photo of a cat", "itap of the large bird", "3 red leaves!"};

/// Logits by name and under given conditions, and the gradient of the latter. Logits are a few units large.
void expect_answers(const std::string& folder, const std::string& name, const std::string& levels) {
  const TensorMap expected = load_tensors(kData / "clipseg.safetensors");
  const auto wanted = [&](const std::string& key) { return expected.at(name + "." + key); };
  const ClipSeg segmenter = ClipSeg::load(kData / folder);
  const Tensor named = segmenter.conditions(kSentences);
  EXPECT_LT(largest_difference(named, wanted("conditions")), 1e-5);
  const auto seen = segmenter.look(expected.at(levels).to(at::kFloat) / 127.5 - 1);
  EXPECT_LT(largest_difference(segmenter.logits(seen, named), wanted("named")), 2e-5);
  const Tensor given = wanted("given").clone().requires_grad_();
  const Tensor logits = segmenter.logits(seen, given);
  EXPECT_LT(largest_difference(logits, wanted("logits")), 2e-5);
  (logits * wanted("weights")).sum().backward();
  EXPECT_LT(largest_difference(given.grad(), wanted("gradient")), 1e-5 * wanted("gradient").abs().max().item<double>());
}

TEST(ClipSeg, AnswersAsTransformersDoesParity) {
  expect_answers("clipseg", "plain", "levels");
}

TEST(ClipSeg, AnswersAsTransformersDoesAtTheTowersOwnSizeParity) {
  expect_answers("clipseg", "own", "own.levels");
}

TEST(ClipSeg, WithTheComplexHeadAnswersAsTransformersDoesParity) {
  expect_answers("clipseg_complex", "complex", "levels");
}

TEST(ClipSeg, NeedsNoTextTowerForEmbeddings) {
  LoadOptions options;
  options.text = false;
  const ClipSeg segmenter = ClipSeg::load(kData / "clipseg", options);
  EXPECT_FALSE(segmenter.has_text());
  EXPECT_THAT([&] { segmenter.conditions({"a"}); }, ThrowsMessage<Error>(HasSubstr("text tower")));
  const auto seen = segmenter.look(at::zeros({2, 3, 40, 40}));
  EXPECT_EQ(segmenter.logits(seen, at::ones({2, 24})).sizes(), (std::vector<std::int64_t>{2, 40, 40}));
  EXPECT_THAT([&] { segmenter.look(at::zeros({2, 3, 40, 32})); }, ThrowsMessage<Error>(HasSubstr("size, size")));
  options = {};
  options.image = false;
  EXPECT_THAT(
      [&] {
        ClipSeg::load(kData / "clipseg", options).look(at::zeros({1, 3, 40, 40}));
      },
      ThrowsMessage<Error>(HasSubstr("image tower")));
}

TEST(ClipSeg, NamesWhatIsWrongWithAFolder) {
  const auto refused = [&](const char* file, const std::string& from, const std::string& to, const std::string& word) {
    const TemporaryFolder folder;
    std::filesystem::copy(kData / "clipseg", folder.path(), std::filesystem::copy_options::recursive);
    std::string text = read_file(folder.path() / file);
    text.replace(text.find(from), from.size(), to);
    write_file(folder.path() / file, text);
    EXPECT_THAT([&] { ClipSeg::load(folder.path()); }, ThrowsMessage<Error>(AllOf(HasSubstr(file), HasSubstr(word))));
  };
  refused("config.json", "\"clipseg\"", "\"clip\"", "model_type");
  refused("config.json", "    2\n  ]", "    3\n  ]", "extract_layers");
  refused("config.json", "    0,\n", "    2,\n", "extract_layers");
  refused("config.json", "\"conditional_layer\": 0", "\"conditional_layer\": 2", "conditional_layer");
  refused("config.json", "\"decoder_num_attention_heads\": 2", "\"decoder_num_attention_heads\": 3", "heads");
  refused("preprocessor_config.json", "\"height\": 32", "\"height\": 24", "size");
  refused("preprocessor_config.json", "\"resample\": 2", "\"resample\": 0", "resample");
  EXPECT_THAT([] { ClipSeg::load("/no/such/folder"); }, ThrowsMessage<Error>(HasSubstr("/no/such/folder")));

  const TemporaryFolder folder;
  std::filesystem::copy(kData / "clipseg", folder.path(), std::filesystem::copy_options::recursive);
  TensorMap tensors = load_tensors(folder.path() / "model.safetensors");
  tensors.erase("decoder.film_mul.weight");
  save_tensors(folder.path() / "model.safetensors", tensors);
  EXPECT_THAT([&] { ClipSeg::load(folder.path()); }, ThrowsMessage<Error>(HasSubstr("decoder.film_mul.weight")));
}

TEST(ClipSeg, LoadsADamagedFolderOrRefusesItWithAnError) {
  const TemporaryFolder folder;
  std::filesystem::copy(kData / "clipseg", folder.path(), std::filesystem::copy_options::recursive);
  for (const char* file : {"config.json", "preprocessor_config.json"}) {
    const Json good = read_json(folder.path() / file);
    const int refused = refusals(60, [&](KeyedRandom& random) {
      write_json(folder.path() / file, damaged(good, random));
      ClipSeg::load(folder.path());
    });
    EXPECT_GT(refused, 5) << file;
    write_json(folder.path() / file, good);
  }
}

TEST(MaskDecoder, GivesTheTensorsThatItWasMadeOf) {
  MaskDecoderConfig config;
  config.tower_width = 12;
  config.joint_width = 8;
  config.width = 8;
  config.hidden = 16;
  config.heads = 2;
  config.layers = 2;
  config.patch = 4;
  for (const bool complex_head : {false, true}) {
    config.complex_head = complex_head;
    const TensorMap drawn = random_decoder_tensors(config, 3);
    const MaskDecoder decoder(config, {drawn, "test"}, /*trains=*/true);
    const TensorMap again = decoder.parameters();
    ASSERT_EQ(again.size(), drawn.size());
    for (const auto& [name, tensor] : again) {
      EXPECT_TRUE(tensor.requires_grad()) << name;
      EXPECT_TRUE(at::equal(tensor.detach(), drawn.at(name))) << name;
    }
    const Tensor seen = at::ones({1, 5, 12});
    const std::int64_t side = 2 * config.cell_pixels();
    EXPECT_EQ(decoder.logits({seen, seen}, at::zeros({1, 8})).sizes(), (std::vector<std::int64_t>{1, side, side}));
    const Tensor odd = at::ones({1, 4, 12});
    EXPECT_THAT([&] { decoder.logits({odd, odd}, at::zeros({1, 8})); }, ThrowsMessage<Error>(HasSubstr("square")));
  }
}

}  // namespace
}  // namespace attune

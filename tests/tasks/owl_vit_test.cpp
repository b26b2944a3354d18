#include "attune/tasks/owl_vit.h"

#include <fstream>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/decode.h"
#include "attune/tasks/detection.h"
#include "tests/support/close.h"
#include "tests/support/mutations.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::kData;
using testing_support::largest_difference;

TEST(OwlVit, AnswersAsTransformersDoesParity) {
  const TensorMap expected = load_tensors(kData / "expected.safetensors");
  const auto sentences = parse_json(SafetensorsFile(kData / "expected.safetensors").metadata().at("sentences"), "test")
                             .get<std::vector<std::string>>();
  const OwlVit detector = OwlVit::load(kData / "owl_vit");
  const Tensor queries = detector.queries(sentences);
  EXPECT_LT(largest_difference(queries, expected.at("queries")), 1e-5);
  const Sight sight = detector.look(expected.at("levels").to(at::kFloat) / 127.5 - 1);
  EXPECT_LT(largest_difference(sight.boxes, expected.at("boxes")), 1e-5);
  EXPECT_LT(largest_difference(OwlVit::logits(sight, queries), expected.at("logits")), 1e-5);
}

TEST(OwlVit, SeesPicturesAsTransformersDoesParity) {
  const TensorMap expected = load_tensors(kData / "expected.safetensors");
  const OwlVit detector = OwlVit::load(kData / "owl_vit");
  for (std::int64_t i = 0; i < 3; ++i) {
    const Sight sight = look_at(detector, read_image(kData / "boxes/images" / (std::to_string(i) + ".png")));
    EXPECT_LT(largest_difference(sight.boxes[0], expected.at("picture_boxes")[i]), 1e-5);
    EXPECT_LT(largest_difference(OwlVit::logits(sight, expected.at("queries"))[0], expected.at("picture_logits")[i]),
              1e-5);
  }
}

TEST(OwlVit, TheDetectorThatShipsIsTakenByItsName) {
  const OwlVit detector = OwlVit::load("pocket-detector");
  EXPECT_EQ(detector.cells(), 144);
  EXPECT_EQ(detector.name(), "pocket-detector");
  EXPECT_EQ(detector.queries({"a photo of a cat"}).sizes(), (std::vector<std::int64_t>{1, 192}));
  // The list beside it is the one that it was trained on.
  const std::string folder = std::string(ATTUNE_SOURCE_DIR) + "/models/pocket-detector";
  EXPECT_EQ(read_json(folder + "/metrics.json")["drawings_sha256"], sha256_of_file(folder + "/drawings.json"));
}

TEST(OwlVit, WorksWithoutTheTowerThatIsNotNeeded) {
  const OwlVit both = OwlVit::load(kData / "owl_vit");
  LoadOptions image_only, text_only;
  image_only.text = false;
  text_only.image = false;
  const OwlVit seeing = OwlVit::load(kData / "owl_vit", image_only),
               reading = OwlVit::load(kData / "owl_vit", text_only);
  EXPECT_FALSE(seeing.has_text());
  const Tensor pixels = at::zeros({1, 3, 64, 64});
  EXPECT_TRUE(seeing.look(pixels).boxes.equal(both.look(pixels).boxes));
  EXPECT_TRUE(reading.queries({"a cat"}).equal(both.queries({"a cat"})));
  EXPECT_EQ(seeing.weight_hash(), reading.weight_hash());
  EXPECT_THAT([&] { seeing.queries({"a cat"}); }, ThrowsMessage<Error>(HasSubstr("text tower")));
  EXPECT_THAT([&] { reading.look(pixels); }, ThrowsMessage<Error>(HasSubstr("image tower")));
}

TEST(OwlVit, PicturesDoNotDependOnTheirNeighbours) {
  const OwlVit detector = OwlVit::load(kData / "owl_vit");
  const Tensor pixels = load_tensors(kData / "expected.safetensors").at("levels").to(at::kFloat) / 127.5 - 1;
  const Sight together = detector.look(pixels), alone = detector.look(pixels.narrow(0, 1, 1));
  EXPECT_LT(largest_difference(together.boxes[1], alone.boxes[0]), 1e-6);
  EXPECT_LT(largest_difference(together.embeddings[1], alone.embeddings[0]), 1e-5);
}

TEST(OwlVit, NamesWhatIsWrongWithAFolder) {
  const auto damaged_folder = [](const char* file, const std::string& from, const std::string& to) {
    auto folder = std::make_unique<TemporaryFolder>();
    std::filesystem::copy(kData / "owl_vit", folder->path(), std::filesystem::copy_options::recursive);
    std::string text = read_file(folder->path() / file);
    text.replace(text.find(from), from.size(), to);
    write_file(folder->path() / file, text);
    return folder;
  };
  const auto refused = [&](const char* file, const std::string& from, const std::string& to, const std::string& word) {
    const auto folder = damaged_folder(file, from, to);
    EXPECT_THAT([&] { OwlVit::load(folder->path()); }, ThrowsMessage<Error>(AllOf(HasSubstr(file), HasSubstr(word))));
  };
  refused("config.json", "\"owlvit\"", "\"owlv2\"", "model_type");
  refused("config.json", "\"projection_dim\": 32", "\"projection_dim\": 24", "projection_dim");

  refused("preprocessor_config.json", "\"height\": 64", "\"height\": 32", "size");
  refused("preprocessor_config.json", "\"do_center_crop\": false", "\"do_center_crop\": true", "do_center_crop");
  EXPECT_THAT([] { OwlVit::load("/no/such/folder"); }, ThrowsMessage<Error>(HasSubstr("/no/such/folder")));
}

TEST(OwlVit, LoadsADamagedFolderOrRefusesItWithAnError) {
  const TemporaryFolder folder;
  std::filesystem::copy(kData / "owl_vit", folder.path(), std::filesystem::copy_options::recursive);
  for (const char* file : {"config.json", "preprocessor_config.json"}) {
    const Json good = read_json(folder.path() / file);
    const int refused = refusals(60, [&](KeyedRandom& random) {
      write_json(folder.path() / file, damaged(good, random));
      OwlVit::load(folder.path());
    });
    EXPECT_GT(refused, 10) << file;
    write_json(folder.path() / file, good);
  }
}

}  // namespace
}  // namespace attune

#include "attune/methods/import_prompts.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "tests/support/error_of.h"
#include "tests/support/mutations.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ClassNames kNames{{"dog", "cat on a mat", "big photo", "a b c", "owl"}};

std::filesystem::path data_file(const std::string& name) {
  return std::filesystem::path(ATTUNE_TEST_DATA) / name;
}

ImportedPrompts import(const std::string& file, const std::string& method, const ClassNames& classes = kNames) {
  return import_prompts(data_file(file), parse_method(method), small_model(), classes);
}

std::string refusal(const std::string& file, const std::string& method, const ClassNames& classes = kNames) {
  return error_of([&] { import(file, method, classes); });
}

/// The pictures of the tests of the methods in the towers, as pixels and as features.
Batch pictures() {
  const TensorMap data = load_tensors(data_file("towers.safetensors"));
  Batch batch{data.at("features"), {}, {}};
  batch.pixels = data.at("pixels");
  return batch;
}

struct Case {
  std::string name, file, method;
};

class ImportedCheckpoints : public testing::TestWithParam<Case> {
 protected:
  Tensor expected() const { return load_tensors(data_file("imports.safetensors")).at(GetParam().name); }
};

TEST_P(ImportedCheckpoints, GiveTheLogitsOfAnIndependentImplementationAlsoFromDiskParity) {
  ImportedPrompts imported = import(GetParam().file, GetParam().method);
  EXPECT_THAT(imported.notes, IsEmpty());
  const Tensor logits = imported.classifier->logits(pictures());
  EXPECT_LT((logits - expected()).abs().max().item<double>(), 1e-4 * expected().abs().max().item<double>());

  const TemporaryFolder folder;
  save_adapter(folder.path(), imported.info, *imported.classifier);
  EXPECT_TRUE(load_adapter(folder.path(), small_model())->logits(pictures()).equal(logits));
  for (const auto& [name, tensor] : imported.classifier->state()) EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
}

INSTANTIATE_TEST_SUITE_P(All, ImportedCheckpoints,
                         testing::Values(Case{"coop", "import_coop.pth.tar", "coop"},
                                         Case{"kgcoop", "import_kgcoop.pth.tar", "kgcoop"},
                                         Case{"coop_csc", "import_coop_csc.pth.tar", "coop"},
                                         Case{"cocoop", "import_cocoop.pth.tar", "cocoop"},
                                         Case{"maple", "import_maple.pth.tar", "maple"},
                                         Case{"promptsrc", "import_promptsrc.pth.tar", "promptsrc"},
                                         Case{"vpt", "import_vpt.pth.tar", "vpt"},
                                         Case{"deep_text", "import_deep_text.pth.tar", "deep_text"},
                                         Case{"label", "import_label.pt", "coop"}),
                         [](const auto& info) { return info.param.name; });

TEST(ImportPrompts, ProGradSavesTheSameAsCoOp) {
  const Tensor expected = import("import_coop.pth.tar", "coop").classifier->logits(pictures());
  EXPECT_TRUE(import("import_coop.pth.tar", "prograd").classifier->logits(pictures()).equal(expected));
}

TEST(ImportPrompts, TellsTheEpochAndTakesSettingsThatTensorsDoNotTell) {
  EXPECT_EQ(import("import_coop.pth.tar", "coop").epoch, 5);
  EXPECT_FALSE(import("import_label.pt", "coop").epoch);
  const ImportedPrompts front = import("import_coop.pth.tar", "coop:context.position=front");
  EXPECT_EQ(front.info.config.at("context.position"), "front");
  EXPECT_FALSE(
      front.classifier->logits(pictures()).equal(import("import_coop.pth.tar", "coop").classifier->logits(pictures())));
}

TEST(ImportPrompts, OtherClassNamesAreNotedAndForbiddenWhereEachClassHasAContext) {
  ClassNames others = kNames;
  others.names[1] = "cat";
  EXPECT_THAT(import("import_coop.pth.tar", "coop", others).notes,
              ElementsAre(AllOf(HasSubstr("class 1"), HasSubstr("\"cat\""))));
  EXPECT_THAT(import("import_maple.pth.tar", "maple", {{"dog"}}).notes,
              ElementsAre(AllOf(HasSubstr("5 classes"), HasSubstr("found 1"))));
  EXPECT_THAT(refusal("import_coop_csc.pth.tar", "coop", others),
              AllOf(HasSubstr("import_coop_csc.pth.tar"), HasSubstr("class 1")));
}

TEST(ImportPrompts, ACheckpointOfAnotherMethodSaysSo) {
  EXPECT_THAT(refusal("import_cocoop.pth.tar", "coop"),
              AllOf(HasSubstr("import_cocoop.pth.tar"), HasSubstr("of coop"), HasSubstr("of cocoop")));
  EXPECT_THAT(refusal("import_coop.pth.tar", "cocoop"), HasSubstr("those of coop, kgcoop or prograd"));
  EXPECT_THAT(refusal("import_promptsrc.pth.tar", "maple"), HasSubstr("those of ivlp or promptsrc"));
  EXPECT_THAT(refusal("import_vpt.pth.tar", "ivlp"), HasSubstr("those of vpt"));
  EXPECT_THAT(refusal("import_deep_text.pth.tar", "coop"), HasSubstr("those of deep_text"));
  EXPECT_THROW(import("import_coop.pth.tar", "tip_adapter"), UsageError);
}

TEST(ImportPrompts, FilesThatCallFunctionsAreReadAsDataAndRefused) {
  EXPECT_THAT(refusal("import_attack.pth.tar", "coop"), HasSubstr("import_attack.pth.tar"));
  EXPECT_FALSE(std::filesystem::exists("import_was_executed"));
}

TEST(ImportPrompts, AnotherClipIsRefusedByItsStartTokenAndAnotherWidthByItsShape) {
  const auto other =
      std::make_shared<const ClipModel>(load_model(std::string(ATTUNE_SOURCE_DIR) + "/tests/clip/data/hf_gelu"));
  EXPECT_THAT(error_of([&] {
                import_prompts(data_file("import_coop.pth.tar"), {"coop", {}}, other, kNames);
              }),
              AllOf(HasSubstr("import_coop.pth.tar"), HasSubstr("token_prefix"), HasSubstr("another CLIP")));
  // Tokens of the image tower are as wide as it is, not as the text tower.
  EXPECT_THAT(refusal("import_wide.pt", "coop"), AllOf(HasSubstr("'ctx'"), HasSubstr("[tokens, 32]"), HasSubstr("48")));
  EXPECT_THAT(refusal("import_deep.pt", "deep_text"),
              AllOf(HasSubstr("text_encoder.transformer.resblocks.3.VPT_shallow"), HasSubstr("blocks")));
  EXPECT_THAT(refusal("import_extra.pt", "coop"), HasSubstr("'scale'"));
  EXPECT_THAT(refusal("import_nan.pt", "coop"), AllOf(HasSubstr("'ctx'"), HasSubstr("finite")));
}

/// Files with some bytes damaged, and what is said of them.
TEST(ImportPrompts, DamagedFilesAreRefusedOrGiveFiniteLogits) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "damaged.tar";
  for (const char* name : {"import_cocoop.pth.tar", "import_vpt.pth.tar"}) {
    const std::string good = read_file(data_file(name));
    const std::string method = std::string(name).find("vpt") != std::string::npos ? "vpt" : "cocoop";
    const int refused = refusals(300, [&](KeyedRandom& random) {
      std::ofstream(file, std::ios::binary) << damaged(good, random);
      const ImportedPrompts imported = import_prompts(file, {method, {}}, small_model(), kNames);
      for (const auto& [tensor, value] : imported.classifier->state())
        EXPECT_TRUE(value.isfinite().all().item<bool>()) << tensor;
    });
    EXPECT_GT(refused, 100) << name;
  }
}

}  // namespace
}  // namespace attune

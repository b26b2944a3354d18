#include "attune/tasks/learned_word.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "tests/support/error_of.h"

namespace attune {
namespace {

using testing::HasSubstr;

class LearnedWordFile : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& name) const { return folder_.path() / name; }
  TemporaryFolder folder_;
  Tensor rows_ = at::arange(6, at::kFloat).view({2, 3});
};

TEST_F(LearnedWordFile, ComesBackFromBothLayouts) {
  for (const Tensor& rows : {rows_, rows_.narrow(0, 0, 1)}) {
    write_learned_word(file("a.safetensors"), {"<toy>", rows}, WordLayout::kDiffusers);
    write_learned_word(file("toy.safetensors"), {"<toy>", rows}, WordLayout::kA1111);
    const LearnedWord diffusers = read_learned_word(file("a.safetensors")),
                      a1111 = read_learned_word(file("toy.safetensors"));
    EXPECT_EQ(diffusers.name, "<toy>");
    EXPECT_EQ(a1111.name, "toy");
    EXPECT_TRUE(diffusers.rows.equal(rows));
    EXPECT_TRUE(a1111.rows.equal(rows));
  }
}

TEST_F(LearnedWordFile, RefusesWhatIsNoEmbedding) {
  const auto refusal = [&](const TensorMap& tensors) {
    save_tensors(file("b.safetensors"), tensors);
    return error_of([&] { read_learned_word(file("b.safetensors")); });
  };
  EXPECT_THAT(refusal({{"a", rows_}, {"b", rows_}}), HasSubstr("expected one tensor, found 2"));
  EXPECT_THAT(refusal({{"a", rows_.view({1, 2, 3})}}), HasSubstr("[n, width]"));
  EXPECT_THAT(refusal({{"a", rows_.to(at::kLong)}}), HasSubstr("[n, width]"));
  EXPECT_THAT(refusal({{"a", at::empty({0, 3})}}), HasSubstr("[n, width]"));
  EXPECT_THAT(refusal({{"a", at::full({3}, INFINITY)}}), HasSubstr("finite"));
  EXPECT_THAT(refusal({}), HasSubstr("found 0"));
}

TEST_F(LearnedWordFile, RefusesAPlaceholderThatIsNoWord) {
  for (const char* name : {"", "two words", "emb_params"}) {
    EXPECT_THAT(error_of([&] {
                  write_learned_word(file("c.safetensors"), {name, rows_}, WordLayout::kDiffusers);
                }),
                HasSubstr("placeholder"));
  }
  EXPECT_FALSE(std::filesystem::exists(file("c.safetensors")));
}

TEST_F(LearnedWordFile, PromptEmbeddingsComeBackAndAreNotTakenForAWord) {
  write_prompt_embeddings(file("d.safetensors"), rows_);
  EXPECT_TRUE(read_prompt_embeddings(file("d.safetensors")).equal(rows_));
  EXPECT_NE(error_of([&] { read_learned_word(file("d.safetensors")); }), "");
  write_learned_word(file("e.safetensors"), {"<toy>", rows_}, WordLayout::kDiffusers);
  EXPECT_THAT(error_of([&] { read_prompt_embeddings(file("e.safetensors")); }), HasSubstr("prompt_embeds"));
}

}  // namespace
}  // namespace attune

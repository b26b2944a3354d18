#include "attune/tasks/textual_inversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_of.h"
#include "tests/tasks/given_noise.h"

namespace attune {
namespace {

using testing::HasSubstr;

std::shared_ptr<const TextEncoder> small_encoder() {
  static const auto loaded = std::make_shared<const TextEncoder>(TextEncoder::load(kSmallDiffusion));
  return loaded;
}

/// A search that begins with the first `vectors` tokens of "cat".
TextualInversion search(const std::vector<std::string>& templates, std::int64_t vectors) {
  return {token_rows(*small_encoder(), "cat", vectors), given_settings(), small_encoder(), templates, nullptr, 1};
}

// Tolerances as in ConceptSearchParity.
TEST(TextualInversionParity, FindsTheTokenThatTransformersAndDiffusersFind) {
  const TensorMap stored = given_noise();
  GivenNoise task(stored);
  TextualInversion learner(stored.at("start"), given_settings(), small_encoder(), {"a photo of a {}"}, &task, 1);
  const Tensor losses = ten_steps(learner);
  EXPECT_TRUE(at::allclose(losses, stored.at("inversion.losses"), 1e-5, 1e-6))
      << losses << stored.at("inversion.losses");
  EXPECT_TRUE(at::allclose(learner.token(), stored.at("token"), 1e-4, 1e-4));
}

TEST(TextualInversion, BeginsWithWhatTheEncoderSaysOfTheWordItself) {
  const std::int64_t pieces = std::ssize(small_encoder()->tokenizer().encode("cat"));
  const Tensor whole = small_encoder()->encode(std::vector<std::string>{"a photo of a cat"});
  EXPECT_TRUE(at::allclose(search({"a photo of a {}", "{}"}, pieces).rows(), whole[0], 1e-6, 1e-6));
}

TEST(TextualInversion, RefusesATemplateWithoutAPlaceAndOneThatIsTooLong) {
  EXPECT_THAT(error_of([] { search({"{}", "a photo of a cat"}, 1); }), HasSubstr("place {}"));
  EXPECT_THAT(error_of([] { search({"a photo of a {}"}, 40); }), HasSubstr("tokens"));
  EXPECT_THAT(error_of([] { search({}, 1); }), HasSubstr("at least one"));
}

TEST(TokenRows, RepeatAWordThatIsTooShort) {
  const Tensor one = token_rows(*small_encoder(), "cat", 1), three = token_rows(*small_encoder(), "cat", 3);
  ASSERT_EQ(three.size(0), 3);
  EXPECT_TRUE(three[0].equal(one[0]));
}

TEST(TextualInversion, DrawsASentenceForEachSampleByTheStepAlone) {
  const TensorMap stored = given_noise();
  GivenNoise task(stored);
  const auto run = [&](std::uint64_t seed) {
    TextualInversion learner(stored.at("start"), given_settings(), small_encoder(), {"a photo of a {}", "{}"}, &task,
                             seed);
    return ten_steps(learner);
  };
  EXPECT_TRUE(run(1).equal(run(1)));
  EXPECT_FALSE(run(1).equal(run(2)));
}

}  // namespace
}  // namespace attune

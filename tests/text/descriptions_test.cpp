#include "attune/text/descriptions.h"

#include <set>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/text/tokenizer.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

TEST(Descriptions, NamesMatchWhateverTheirCapitalsUnderscoresAndBlanks) {
  const Descriptions read = parse_descriptions(R"({"Mail_box ": ["red.", "blue."], "owl": []})", "test");
  EXPECT_THAT(sentences_about(read, "mail box", DescriptionForm::kSentence), ElementsAre("red.", "blue."));
  EXPECT_THAT(sentences_about(read, "owl", DescriptionForm::kSentence), IsEmpty());
  EXPECT_THAT(sentences_about(read, "mailbox", DescriptionForm::kSentence), IsEmpty());
}

TEST(Descriptions, DescriptorsBecomeSentencesByTheirFirstWord) {
  EXPECT_EQ(descriptor_sentence("hen", "two legs"), "hen, which has two legs");
  EXPECT_EQ(descriptor_sentence("hen", "a small, round body"), "hen, which is a small, round body");
  EXPECT_EQ(descriptor_sentence("hen", "an omnivore"), "hen, which is an omnivore");
  EXPECT_EQ(descriptor_sentence("pan", "used for frying"), "pan, which is used for frying");
  EXPECT_EQ(descriptor_sentence("pan", "often has a handle"), "pan, which often has a handle");
  EXPECT_EQ(descriptor_sentence("hen", "antenna"), "hen, which has antenna") << "no article";
}

TEST(Descriptions, WrongFilesAreErrorsThatNameTheClass) {
  EXPECT_THAT([] { parse_descriptions(R"({"dog": "fur"})", "f.json"); },
              ThrowsMessage<Error>(testing::AllOf(HasSubstr("f.json"), HasSubstr("dog"))));
  EXPECT_THAT([] { parse_descriptions(R"({"dog": ["fur", 1]})", "f.json"); }, ThrowsMessage<Error>(HasSubstr("dog")));
  EXPECT_THAT([] { parse_descriptions("[1]", "f.json"); }, ThrowsMessage<Error>(HasSubstr("object")));
  EXPECT_THAT([] { parse_descriptions("{", "f.json"); }, ThrowsMessage<Error>(HasSubstr("f.json")));
  EXPECT_THAT([] { description_form_named("x"); }, ThrowsMessage<UsageError>(HasSubstr("sentence or descriptor")));
}

TEST(Descriptions, ThoseOfTheDemosClassesFitThePositionsThatTheShippedModelWasTrainedOn) {
  const std::filesystem::path folder = std::filesystem::path(ATTUNE_SOURCE_DIR) / "models/pocket";
  const Descriptions read = read_descriptions(folder / "descriptions.json");
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const Json benchmark = read_json(folder / "emoji_dg.json");
  std::set<std::string> seen;
  for (const Json& subgroup : benchmark.at("subgroups")) {
    const auto name = subgroup.at("name").get<std::string>();
    const std::vector<std::string> sentences = sentences_about(read, name, DescriptionForm::kSentence);
    EXPECT_GE(sentences.size(), 3u) << name;
    EXPECT_LE(sentences.size(), 5u) << name;
    for (const std::string& sentence : sentences) {
      EXPECT_LE(tokenizer.encode(sentence).size() + 2, 24u) << sentence;
      EXPECT_TRUE(seen.insert(sentence).second) << sentence;
    }
  }
  EXPECT_EQ(read.of_class.size(), benchmark.at("subgroups").size());
}

}  // namespace
}  // namespace attune

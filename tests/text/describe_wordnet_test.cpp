#include "attune/text/describe_wordnet.h"

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/random.h"

namespace attune {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

const std::string kWordNet = std::string(ATTUNE_TEST_DATA) + "/wordnet";

TEST(WordNet, MeaningsComeInTheirOrderWithoutExamples) {
  const WordNet wordnet(kWordNet);
  const std::vector<WordNet::Sense> senses = wordnet.senses("Crane");
  ASSERT_EQ(senses.size(), 2u);
  EXPECT_EQ(senses[0].gloss, "a large bird with long legs");
  EXPECT_THAT(senses[0].hypernyms, ElementsAre("bird"));
  EXPECT_THAT(senses[1].words, ElementsAre("crane", "lifting crane"));
  EXPECT_EQ(wordnet.senses("bird")[0].gloss, "a warm animal with feathers");
  EXPECT_THAT(wordnet.senses("cran"), IsEmpty());
  EXPECT_THAT(wordnet.senses(""), IsEmpty());
}

TEST(WordNet, NamesAreFoundWhateverTheirForm) {
  const WordNet wordnet(kWordNet);
  EXPECT_EQ(wordnet.senses("geese")[0].words[0], "goose");
  EXPECT_EQ(wordnet.senses("birds")[0].words[0], "bird");
  EXPECT_EQ(wordnet.senses("Photographic_camera")[0].words[0], "camera");
  EXPECT_EQ(wordnet.senses("lifting  crane").size(), 1u);
}

TEST(WordNet, SentencesOfPiecesAndCompounds) {
  const WordNet wordnet(kWordNet);
  EXPECT_THAT(wordnet_sentences(wordnet, "animal"), ElementsAre("An animal is a living thing that moves by itself."));
  EXPECT_THAT(wordnet_sentences(wordnet, "lamp or camera"),
              ElementsAre("A lamp is a thing that gives light.", "A lamp is a kind of machine.",
                          "A camera is a machine that takes pictures.", "A camera is a kind of machine."));
  EXPECT_THAT(wordnet_sentences(wordnet, "desk lamp"), Contains("A lamp is a thing that gives light."));
  EXPECT_EQ(wordnet_sentences(wordnet, "crane", 2).size(), 4u);
  EXPECT_THAT(wordnet_sentences(wordnet, "zeppelin"), IsEmpty());
}

TEST(WordNet, AFolderWithoutFilesIsNamed) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { WordNet{folder.path()}; }, ThrowsMessage<Error>(HasSubstr("wordnet-base")));
}

TEST(WordNet, DamagedFilesAreErrorsOrWrongTextsAndNothingElse) {
  const std::string index = read_file(kWordNet + "/index.noun"), data = read_file(kWordNet + "/data.noun");
  KeyedRandom random(1, "damage");
  const TemporaryFolder folder;
  for (int i = 0; i < 60; ++i) {
    std::string bad_index = index, bad_data = data;
    for (std::string* one : {&bad_index, &bad_data}) {
      for (int k = 0; k < 4; ++k) (*one)[random.below(one->size())] = static_cast<char>(random.below(256));
      if (random.chance(0.3)) one->resize(random.below(one->size()));
    }
    write_file(folder.path() / "index.noun", bad_index);
    write_file(folder.path() / "data.noun", bad_data);
    const WordNet wordnet(folder.path());
    for (const char* name : {"crane", "bird", "lamp or camera"}) {
      try {
        wordnet_sentences(wordnet, name, 5);
      } catch (const Error& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("data.noun"));
      }
    }
  }
}

TEST(WordNetOfDebian, KnowsCommonNouns) {
  const std::filesystem::path folder = "/usr/share/wordnet";
  if (!std::filesystem::exists(folder / "data.noun"))
    GTEST_SKIP() << "the Debian package wordnet-base is not installed";
  const WordNet wordnet(folder);
  EXPECT_THAT(wordnet_sentences(wordnet, "corgi"), Contains(HasSubstr("Welsh")));
  EXPECT_THAT(wordnet.senses("mice")[0].words[0], "mouse");
}

}  // namespace
}  // namespace attune

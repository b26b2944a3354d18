#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/text/tokenizer.h"
#include "attune/text/train_bpe.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using Ids = std::vector<std::int64_t>;
using ::testing::HasSubstr;
using testing_support::kData;

const Tokenizer& clip() {
  static const Tokenizer tokenizer = Tokenizer::load(kData / "clip_merges.txt.gz");
  return tokenizer;
}

TEST(Tokenizer, GivesTheIdsThatClipIsKnownBy) {
  EXPECT_EQ(clip().encode("a photo of a cat."), (Ids{320, 1125, 539, 320, 2368, 269}));
  EXPECT_EQ(clip().token(2368), "cat</w>");
  EXPECT_EQ(clip().encode(""), Ids{});
  EXPECT_EQ(clip().encode(" \n\u3000"), Ids{});
}

TEST(Tokenizer, SpecialTokensInATextBecomeTheirIdsOnlyAsWrittenInTheFile) {
  EXPECT_EQ(clip().encode("a<|endoftext|>cat"), (Ids{320, 49407, 2368}));
  EXPECT_EQ(clip().encode("<|ENDOFTEXT|>"), (Ids{27, 347, 40786, 4160, 91, 285}));
}

TEST(Tokenizer, IllFormedUtf8ReadsAsReplacementCharacters) {
  const std::pair<std::string, std::string> cases[] = {
      {"\xff", "\uFFFD"},
      {"a\xc3", "a\uFFFD"},
      {"\xc0\xaf", "\uFFFD\uFFFD"},                      // overlong
      {"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},            // a surrogate
      {"\xe2\x82 \xac", "\uFFFD \uFFFD"},                // a sequence that breaks off
      {"\xf0\x9f\x98", "\uFFFD"},                        // three bytes of four are one maximal part
      {"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},  // above U+10FFFF
  };
  for (const auto& [bad, good] : cases) EXPECT_EQ(clip().encode(bad), clip().encode(good)) << good;
}

TEST(Tokenizer, DecodeGivesTheNormalisedTextWithWordEndsAsSpaces) {
  EXPECT_EQ(clip().decode(clip().encode("  A  photo of\tthe ZÜRICH tram!  ")), "a photo of the zürich tram !");
  EXPECT_EQ(clip().decode(clip().encode("寿司 🥑")), "寿司 🥑");
  EXPECT_EQ(clip().decode({49406, 2368, 49407}), "<|startoftext|>cat <|endoftext|>");
  EXPECT_EQ(clip().decode({157}), "\uFFFD");  // one byte of a longer sequence
  EXPECT_THROW(clip().decode({49408}), Error);
  EXPECT_THROW(clip().token(-1), Error);
}

TEST(Tokenizer, TakesLongWordsAndLongRunsOfMarksInLinearTime) {
  EXPECT_EQ(clip().decode(clip().encode(std::string(200000, 'a'))).size(), 200000u);
  std::string marks = "a";
  for (int i = 0; i < 100000; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0316";
  EXPECT_GT(clip().encode(marks).size(), 1000u);
}

TEST(Tokenizer, ManyThreadsEncodeAtOnce) {
  const Ids expected = clip().encode("a photo of a zebra crossing.");
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) wrong += clip().encode("a photo of a zebra crossing.") != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, SavedFoldersGiveTheSameIdsFromEitherForm) {
  const TemporaryFolder folder;
  clip().save(folder.path(), 77);
  const std::string text = "Forget-me-nots, 2012 Tesla's 東京タワー <|startoftext|> 🥑";
  const Tokenizer whole = Tokenizer::load(folder.path());
  const Tokenizer file = Tokenizer::load(folder.path() / "tokenizer.json");
  std::filesystem::remove(folder.path() / "tokenizer.json");
  const Tokenizer pair = Tokenizer::load(folder.path());
  for (const Tokenizer* tokenizer : {&whole, &file, &pair}) {
    EXPECT_EQ(tokenizer->encode(text), clip().encode(text));
    EXPECT_EQ(tokenizer->size(), clip().size());
    EXPECT_EQ(tokenizer->start(), 49406);
    EXPECT_EQ(tokenizer->end(), 49407);
  }
}

TEST(Tokenizer, ReadsTheWordRuleOfOlderFiles) {
  Json file = read_json(kData / "small" / "tokenizer.json");
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
      R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
  const TemporaryFolder folder;
  write_json(folder.path() / "tokenizer.json", file);
  EXPECT_EQ(Tokenizer::load(folder.path()).encode("it's <|ENDOFTEXT|>!"),
            Tokenizer::load(kData / "small").encode("it's <|ENDOFTEXT|>!"));
}

TEST(TrainBpe, SpecialTokensAreTheLastTwoIdsAndEveryByteHasAnEntry) {
  const Tokenizer tokenizer = train_tokenizer({"low lower lowest", "new newer newest widest"}, 530);
  EXPECT_EQ(tokenizer.size(), 530);
  EXPECT_EQ(tokenizer.start(), 528);
  EXPECT_EQ(tokenizer.end(), 529);
  EXPECT_EQ(tokenizer.encode("lowest").size(), 1u);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("\x01 🥑 ключ")), "\x01 🥑 ключ");
}

TEST(TrainBpe, TextsThatRunOutOfPairsGiveASmallerVocabulary) {
  EXPECT_EQ(train_tokenizer({"ab ab"}, 4096).size(), 515);
  EXPECT_EQ(train_tokenizer({}, 4096).size(), 514);
  EXPECT_THROW(train_tokenizer({"ab"}, 513), UsageError);
}

TEST(TrainBpe, TheOrderOfTheTextsDoesNotMatter) {
  const TemporaryFolder folder;
  train_tokenizer({"a red fox", "the red hen", "two foxes"}, 530).save(folder.path() / "a", 32);
  train_tokenizer({"two foxes", "the red hen", "a red fox"}, 530).save(folder.path() / "b", 32);
  EXPECT_EQ(read_file(folder.path() / "a" / "tokenizer.json"), read_file(folder.path() / "b" / "tokenizer.json"));
}

}  // namespace
}  // namespace attune

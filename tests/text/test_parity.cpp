// Ids against those that transformers' fast CLIP tokenizer gives; data/make.py stores them.
#include <sstream>
#include <zlib.h>

#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/text/tokenizer.h"
#include "attune/text/train_bpe.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using testing_support::kData;

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  char block[4096];
  for (int n = 0; (n = gzread(file, block, sizeof block)) > 0;) text.append(block, static_cast<std::size_t>(n));
  gzclose(file);
  std::vector<Json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(parse_json(line, path.string()));
  return lines;
}

using Ids = std::vector<std::int64_t>;

TEST(TokenizerParity, IdsEqualTheFastTokenizersUnderTheWholeVocabulary) {
  const Tokenizer tokenizer = Tokenizer::load(kData / "clip_merges.txt.gz");
  ASSERT_EQ(tokenizer.size(), 49408);
  EXPECT_EQ(tokenizer.start(), 49406);
  EXPECT_EQ(tokenizer.end(), 49407);
  const auto lines = read_lines(kData / "strings.jsonl.gz");
  ASSERT_GE(lines.size(), 5000u);
  int wrong = 0;
  for (const Json& line : lines) {
    const auto text = line[0].get<std::string>();
    const Ids ids = tokenizer.encode(text);
    if (ids == line[1].get<Ids>()) continue;
    if (++wrong <= 10)
      ADD_FAILURE() << Json(text).dump(-1, ' ', true) << "\n expected " << line[1] << "\n found " << Json(ids);
  }
  EXPECT_EQ(wrong, 0);
}

TEST(TokenizerParity, FilesSavedByTransformersAreReadWithTheirAddedTokensAndMissingBytes) {
  const Tokenizer tokenizer = Tokenizer::load(kData / "small");
  for (const Json& line : read_lines(kData / "small.jsonl")) {
    const auto text = line[0].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), line[1].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.decode(line[1].get<Ids>()), line[2].get<std::string>()) << text;
  }
}

TEST(TrainBpeParity, MergesEqualThoseOfAPlainTraining) {
  const Json expected = read_json(kData / "trained.json");
  const auto texts = expected["texts"].get<std::vector<std::string>>();
  const Tokenizer tokenizer = train_tokenizer(texts, expected["entries"].get<std::int64_t>());
  const TemporaryFolder folder;
  tokenizer.save(folder.path(), 77);
  const Json saved = read_json(folder.path() / "tokenizer.json");
  const auto merges = expected["merges"].get<std::vector<std::vector<std::string>>>();
  ASSERT_EQ(saved["model"]["merges"].size(), merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    EXPECT_EQ(saved["model"]["merges"][i].get<std::string>(), merges[i][0] + " " + merges[i][1]) << i;
  }
  EXPECT_EQ(tokenizer.end(), expected["end"].get<std::int64_t>());
  EXPECT_EQ(tokenizer.size(), 900);
  for (const Json& line : expected["ids"]) {
    EXPECT_EQ(tokenizer.encode(line[0].get<std::string>()), line[1].get<Ids>()) << line[0];
  }
}

}  // namespace
}  // namespace attune

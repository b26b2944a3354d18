// Broken and hostile tokenizer files end in an error that names the file.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/text/tokenizer.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

using ::testing::HasSubstr;
using testing_support::kData;

class TokenizerFile : public ::testing::Test {
 protected:
  std::filesystem::path path(const char* name) const { return folder_.path() / name; }

  void expect_refused(const std::filesystem::path& what, const std::string& reason) {
    try {
      Tokenizer::load(what);
      ADD_FAILURE() << "expected an error about " << reason;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(folder_.path().string()));
      EXPECT_THAT(error.what(), HasSubstr(reason));
    }
  }

  void expect_json_refused(const std::function<void(Json&)>& spoil, const std::string& reason) {
    Json file = read_json(kData / "small" / "tokenizer.json");
    spoil(file);
    write_json(path("tokenizer.json"), file);
    expect_refused(folder_.path(), reason);
  }

  void expect_text_refused(const std::string& text, const std::string& reason) {
    write_file(path("tokenizer.json"), text);
    expect_refused(folder_.path(), reason);
  }

  TemporaryFolder folder_;
};

TEST_F(TokenizerFile, MissingOrEmpty) {
  expect_refused(folder_.path(), "expected tokenizer.json");
  expect_refused(path("bpe.txt.gz"), "bpe.txt.gz");
  for (const char* text : {"", "{}", "[]", "null", "7", "\"text\"", "{\"model\":3}", "{\"model\":{}}"}) {
    expect_text_refused(text, "tokenizer.json");
  }
}

TEST_F(TokenizerFile, CutOffAnywhere) {
  const std::string whole = read_file(kData / "small" / "tokenizer.json");
  for (std::size_t size = 0; size + 2 < whole.size(); size += 997) {
    expect_text_refused(whole.substr(0, size), "expected JSON");
  }
}

TEST_F(TokenizerFile, WrongTypes) {
  expect_json_refused([](Json& f) { f["model"]["vocab"]["a"] = "7"; }, "integer ids");
  expect_json_refused([](Json& f) { f["model"]["vocab"]["a"] = 7.5; }, "integer ids");
  expect_json_refused([](Json& f) { f["model"]["vocab"] = Json::array({1}); }, "object of ids");
  expect_json_refused([](Json& f) { f["model"]["vocab"] = 3; }, "object of ids");
  expect_json_refused([](Json& f) { f["model"]["merges"][0] = 3; }, "pairs of entries");
  expect_json_refused([](Json& f) { f["model"]["merges"][0] = {"a", "b", "c"}; }, "merges of two");
  expect_json_refused([](Json& f) { f["model"]["merges"][0] = "a b"; }, "merges of one form");
  expect_json_refused([](Json& f) { f["model"]["merges"] = Json::array({"a  b"}); }, "a merge");
  expect_json_refused([](Json& f) { f["model"]["merges"] = Json::array({"ab"}); }, "a merge");
  expect_json_refused([](Json& f) { f["added_tokens"] = 1; }, "added_tokens");
  expect_json_refused([](Json& f) { f["added_tokens"][0]["id"] = "x"; }, "an integer");
  expect_json_refused([](Json& f) { f["added_tokens"][0].erase("content"); }, "content");
  expect_json_refused([](Json& f) { f["model"]["unk_token"] = 5; }, "unk_token");
}

TEST_F(TokenizerFile, IdsThatDoNotCountFromZero) {
  expect_json_refused([](Json& f) { f["model"]["vocab"]["a"] = 65; }, "each once");
  expect_json_refused([](Json& f) { f["model"]["vocab"]["a"] = -1; }, "each once");
  expect_json_refused([](Json& f) { f["model"]["vocab"]["a"] = 1LL << 40; }, "each once");
  expect_json_refused([](Json& f) { f["model"]["vocab"]["a"] = ~std::uint64_t{0}; }, "each once");
  expect_json_refused([](Json& f) { f["added_tokens"][0]["id"] = 3; }, "one id");
  expect_json_refused([](Json& f) { f["added_tokens"][2]["id"] = 1 << 30; }, "each once");
}

TEST_F(TokenizerFile, MergesOfUnknownEntries) {
  expect_json_refused([](Json& f) { f["model"]["merges"][0] = {"nowhere", "a"}; }, "\"nowhere\"");
  expect_json_refused([](Json& f) { f["model"]["merges"][0] = {"a", "nowhere"}; }, "\"nowhere\"");
  expect_json_refused([](Json& f) { f["model"]["merges"][0] = {"q", "q"}; }, "\"qq\"");
}

TEST_F(TokenizerFile, OtherRulesThanClips) {
  expect_json_refused([](Json& f) { f["normalizer"] = nullptr; }, "normaliser");
  expect_json_refused([](Json& f) { f["normalizer"]["normalizers"].erase(0); }, "normaliser");
  expect_json_refused([](Json& f) { f["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+"; },
                      "pre-tokeniser");
  expect_json_refused([](Json& f) { f["pre_tokenizer"] = "x"; }, "pre-tokeniser");
  expect_json_refused([](Json& f) { f["model"]["type"] = "WordPiece"; }, "type");
  expect_json_refused([](Json& f) { f["model"]["end_of_word_suffix"] = ""; }, "end_of_word_suffix");
  expect_json_refused([](Json& f) { f["model"]["dropout"] = 0.1; }, "dropout");
  expect_json_refused([](Json& f) { f["model"]["byte_fallback"] = true; }, "byte_fallback");
  expect_json_refused([](Json& f) { f["added_tokens"][2]["lstrip"] = true; }, "lstrip");
  expect_json_refused([](Json& f) { f["model"]["unk_token"] = "<unk>"; }, "<unk>");
}

TEST_F(TokenizerFile, MissingSpecialTokens) {
  write_file(path("vocab.json"), R"({"a":0,"<|startoftext|>":1})");
  write_file(path("merges.txt"), "");
  expect_refused(folder_.path(), "<|endoftext|>");
}

TEST_F(TokenizerFile, HostileShapes) {
  expect_text_refused(std::string(100000, '['), "nesting");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  expect_text_refused(deep, "nesting");
  std::string wide = "{\"x\":[0";
  for (int i = 0; i < 200000; ++i) wide += ",0";
  expect_text_refused(wide + "]}", "fewer values");
  expect_text_refused(R"({"model":{"vocab":{"a":0,"a":1},"merges":[]}})", "tokenizer.json");
  expect_text_refused("{\"model\":{\"vocab\":{\"\xff\":0}}}", "expected JSON");
  expect_json_refused(
      [](Json& f) {
        for (int i = 0; i < 1001; ++i) f["added_tokens"].push_back({{"id", 900 + i}, {"content", std::to_string(i)}});
      },
      "at most 1000");
}

TEST_F(TokenizerFile, BrokenVocabAndMerges) {
  write_file(path("merges.txt"), "#version: 0.2\na b\n");
  for (const char* text : {"", "[]", "3", R"({"a":[]})", R"({"a":{}})", R"({"a":null})", R"({"a":0)"}) {
    write_file(path("vocab.json"), text);
    expect_refused(folder_.path(), "vocab.json");
  }
  write_file(path("vocab.json"), R"({"a":0,"b":1,"<|startoftext|>":2,"<|endoftext|>":3})");
  expect_refused(folder_.path(), "\"ab\"");
  write_file(path("merges.txt"), "#version: 0.2\na b c\n");
  expect_refused(folder_.path(), "merges.txt");
  std::filesystem::remove(path("merges.txt"));
  expect_refused(folder_.path(), "merges.txt");
}

TEST_F(TokenizerFile, BrokenGzip) {
  const std::string whole = read_file(kData / "clip_merges.txt.gz");
  for (const std::size_t size : {0u, 1u, 5u, 20u, 100000u}) {
    write_file(path("bpe.gz"), whole.substr(0, size));
    expect_refused(path("bpe.gz"), "gzip");
  }
  std::string spoilt = whole;
  spoilt[100000] ^= 0x55;
  write_file(path("bpe.gz"), spoilt);
  expect_refused(path("bpe.gz"), "bpe.gz");
  write_file(path("bpe.gz"), "plain text");
  expect_refused(path("bpe.gz"), "gzip");
}

}  // namespace
}  // namespace attune

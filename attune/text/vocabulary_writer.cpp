#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/text/vocabulary.h"
#include "attune/text/vocabulary_json.h"
#include "attune/text/words.h"

namespace attune {
namespace {

/// Ids by entry, in order of the ids. (Goes past the map's own insertion, which looks at every earlier key.)
Json entries_of(const Vocabulary& vocabulary) {
  Json entries = Json::object();
  auto& list = entries.get_ref<Json::object_t&>();
  list.reserve(vocabulary.tokens.size());
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) list.push_back({vocabulary.tokens[id], id});
  return entries;
}

std::string merge_line(const Vocabulary& vocabulary, const Merge& merge) {
  return vocabulary.tokens[merge.left] + " " + vocabulary.tokens[merge.right];
}

Json model_of(const Vocabulary& vocabulary) {
  Json unknown;
  if (vocabulary.unknown >= 0) unknown = vocabulary.tokens[vocabulary.unknown];
  Json merges = Json::array();
  for (const Merge& merge : vocabulary.merges) merges.push_back(merge_line(vocabulary, merge));
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown},
          {"continuing_subword_prefix", ""},
          {"end_of_word_suffix", std::string(kWordEnd)},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", entries_of(vocabulary)},
          {"merges", std::move(merges)}};
}

Json added_of(const Vocabulary& vocabulary) {
  Json list = Json::array();
  for (const AddedToken& token : vocabulary.added) {
    list.push_back({{"id", token.id},
                    {"content", token.text},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", token.normalised},
                    {"special", true}});
  }
  return list;
}

std::int32_t id_of(const Vocabulary& vocabulary, std::string_view special) {
  for (const AddedToken& token : vocabulary.added) {
    if (token.text == special) return token.id;
  }
  return -1;
}

}  // namespace

void write_tokenizer_json(const Vocabulary& vocabulary, const std::filesystem::path& path) {
  const Json rules = clip_rules();
  const Json ends = {{"type", "RobertaProcessing"},
                     {"sep", Json::array({std::string(kEndToken), id_of(vocabulary, kEndToken)})},
                     {"cls", Json::array({std::string(kStartToken), id_of(vocabulary, kStartToken)})},
                     {"trim_offsets", false},
                     {"add_prefix_space", false}};
  const Json decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added_of(vocabulary)},
                     {"normalizer", rules["normalizer"]},
                     {"pre_tokenizer", rules["pre_tokenizer"]},
                     {"post_processor", ends},
                     {"decoder", decoder},
                     {"model", model_of(vocabulary)}};
  write_file(path, file.dump() + "\n");
}

void write_vocabulary(const Vocabulary& vocabulary, const std::filesystem::path& folder, std::int64_t context_length) {
  write_tokenizer_json(vocabulary, folder / "tokenizer.json");
  write_file(folder / "vocab.json", entries_of(vocabulary).dump() + "\n");
  std::string lines = "#version: 0.2\n";
  for (const Merge& merge : vocabulary.merges) lines += merge_line(vocabulary, merge) + "\n";
  write_file(folder / "merges.txt", lines);
  const std::string start(kStartToken);
  const std::string end(kEndToken);
  write_json(folder / "tokenizer_config.json", {{"tokenizer_class", "CLIPTokenizer"},
                                                {"model_max_length", context_length},
                                                {"bos_token", start},
                                                {"eos_token", end},
                                                {"pad_token", end},
                                                {"unk_token", end}});
}

}  // namespace attune

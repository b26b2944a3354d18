#include <algorithm>
#include <limits>
#include <zlib.h>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/text/vocabulary.h"
#include "attune/text/vocabulary_json.h"
#include "attune/text/words.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFileLimit = 64 << 20;  // real files have at most 4 MB
constexpr std::size_t kClipMerges = 48894;      // the list that OpenAI ships goes on, CLIP stops here
constexpr std::size_t kAddedLimit = 1000;

/// "left right", by exactly one space.
std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& where) {
  const auto space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    throw Error(fmt::format("{}: expected a merge \"left right\", found \"{}\"", where, line.substr(0, 60)));
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

/// Merges of a text with one a line; empty lines do not count.
TokenPairs merges_of_lines(std::string_view text, std::size_t limit, const std::string& where) {
  TokenPairs merges;
  while (!text.empty() && merges.size() < limit) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) merges.push_back(split_merge(line, where));
  }
  return merges;
}

std::string_view without_first_line(std::string_view text) {
  return text.substr(std::min(text.find('\n'), text.size() - 1) + 1);
}

std::string inflate_file(const fs::path& path) {
  const std::string packed = read_file(path, kFileLimit);
  z_stream stream{};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) throw Error("inflate_file: zlib does not start");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  int state = Z_OK;
  while (state == Z_OK && text.size() <= kFileLimit) {
    const std::size_t before = text.size();
    text.resize(before + (std::size_t{1} << 20));
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + before);
    stream.avail_out = static_cast<uInt>(text.size() - before);
    state = inflate(&stream, Z_NO_FLUSH);
    text.resize(text.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (state != Z_STREAM_END) {
    throw Error(fmt::format("{}: expected a gzip file of at most {} MiB of text, found a broken or larger one",
                            path.string(), kFileLimit >> 20));
  }
  return text;
}

void check_equal(const Json& found, const Json& expected, std::string_view what, const std::string& where) {
  if (nlohmann::json(found) == nlohmann::json(expected)) return;  // whatever the order of keys
  throw Error(fmt::format("{}: expected CLIP's {} {}, found {}", where, what, expected.dump(),
                          found.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 300)));
}

/// Refuses what would give other ids than CLIP's rules. The word rule without the special tokens, of older files, is
/// read as the present one, as transformers does.
void check_rules(const Json& rules, const std::string& where) {
  const Json expected = clip_rules();
  check_equal(json_or<Json>(rules, "normalizer", {}, where), expected["normalizer"], "normaliser", where);
  Json words = json_or<Json>(rules, "pre_tokenizer", {}, where);
  const Json::json_pointer pattern("/pretokenizers/0/pattern/Regex");
  if (words.is_object() && words.contains(pattern) && words[pattern] == kOldWordPattern) {
    words[pattern] = kWordPattern;
  }
  check_equal(words, expected["pre_tokenizer"], "pre-tokeniser", where);
  const Json model = json_at<Json>(rules, "model", where);
  const auto plain = [&](std::string_view key, const Json& value) {
    check_equal(json_or<Json>(model, key, value, where), value, key, where);
  };
  plain("type", "BPE");
  plain("continuing_subword_prefix", "");
  plain("dropout", nullptr);
  plain("fuse_unk", false);
  plain("byte_fallback", false);
  plain("ignore_merges", false);
  check_equal(json_or<Json>(model, "end_of_word_suffix", {}, where), std::string(kWordEnd), "end_of_word_suffix",
              where);
}

AddedToken read_added(const Json& token, const std::string& where) {
  for (const auto key : {"single_word", "lstrip", "rstrip"}) {
    if (json_or<bool>(token, key, false, where)) {
      throw Error(fmt::format("{}: expected added tokens without \"{}\", which is not supported", where, key));
    }
  }
  AddedToken added;
  added.text = json_at<std::string>(token, "content", where);
  const auto id = json_at<std::int64_t>(token, "id", where);
  if (added.text.empty() || id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
    throw Error(fmt::format("{}: expected an added token with a text and an id, found {}", where, id));
  }
  added.id = static_cast<std::int32_t>(id);
  added.normalised = json_or<bool>(token, "normalized", false, where);
  return added;
}

/// Tokens that the vocabulary lacks become entries of it; those it has must have the same id.
std::vector<AddedToken> read_added_tokens(const Json& rules, std::vector<std::pair<std::string, std::int64_t>>& entries,
                                          const std::string& where) {
  std::vector<AddedToken> added;
  const Json list = json_or<Json>(rules, "added_tokens", Json::array(), where);
  if (!list.is_array() || list.size() > kAddedLimit) {
    throw Error(fmt::format("{}: expected \"added_tokens\" to be a list of at most {}", where, kAddedLimit));
  }
  for (const Json& item : list) {
    AddedToken token = read_added(item, where);
    const auto known = std::find_if(added.begin(), added.end(), [&](const auto& t) { return t.text == token.text; });
    if (known != added.end()) throw Error(fmt::format("{}: expected each added token once", where));
    added.push_back(std::move(token));
  }
  std::vector<bool> present(added.size());
  for (const auto& [text, id] : entries) {
    for (std::size_t i = 0; i < added.size(); ++i) {
      if (added[i].text != text) continue;
      present[i] = true;
      if (added[i].id != id) {
        throw Error(fmt::format("{}: expected one id for \"{}\", found {} and {}", where, text, id, added[i].id));
      }
    }
  }
  for (std::size_t i = 0; i < added.size(); ++i) {
    if (!present[i]) entries.emplace_back(added[i].text, added[i].id);
  }
  return added;
}

Vocabulary read_tokenizer_json(const fs::path& path) {
  const std::string where = path.string();
  VocabularyJson file = parse_tokenizer_json(read_file(path, kFileLimit), where);
  check_rules(file.rest, where);
  if (file.entries.empty()) throw Error(fmt::format("{}: expected \"vocab\" to be an object of ids", where));
  if (!file.merges.empty() && !file.merge_lines.empty()) {
    throw Error(fmt::format("{}: expected merges of one form, found lists and texts", where));
  }
  for (const std::string& line : file.merge_lines) file.merges.push_back(split_merge(line, where));
  std::vector<AddedToken> added = read_added_tokens(file.rest, file.entries, where);
  const auto unknown = json_or<std::string>(file.rest["model"], "unk_token", "", where);
  return make_vocabulary(std::move(file.entries), file.merges, std::move(added), unknown, where);
}

Vocabulary read_vocab_and_merges(const fs::path& vocab, const fs::path& merges) {
  const std::string text = read_file(merges, kFileLimit);
  std::string_view lines = text;
  if (lines.starts_with("#version")) lines = without_first_line(lines);
  VocabularyJson file = parse_vocab_json(read_file(vocab, kFileLimit), vocab.string());
  const auto pairs = merges_of_lines(lines, std::numeric_limits<std::size_t>::max(), merges.string());
  return make_vocabulary(std::move(file.entries), pairs, {}, std::string(kEndToken),
                         fmt::format("{} and {}", vocab.string(), merges.filename().string()));
}

}  // namespace

Vocabulary read_vocabulary(const fs::path& path) {
  const bool folder = fs::is_directory(path);
  if (folder && fs::exists(path / "tokenizer.json")) return read_tokenizer_json(path / "tokenizer.json");
  if (folder && fs::exists(path / "vocab.json")) {
    return read_vocab_and_merges(path / "vocab.json", path / "merges.txt");
  }
  if (folder) throw Error(fmt::format("{}: expected tokenizer.json, or vocab.json and merges.txt", path.string()));
  if (path.extension() == ".json") return read_tokenizer_json(path);
  const std::string text = inflate_file(path);
  if (text.empty()) throw Error(fmt::format("{}: expected a list of merges, found nothing", path.string()));
  return make_clip_vocabulary(merges_of_lines(without_first_line(text), kClipMerges, path.string()), path.string());
}

}  // namespace attune

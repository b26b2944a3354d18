#include "attune/text/describe_wordnet.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"

namespace attune {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMostSenses = 100;

std::vector<std::string> fields_of(std::string_view line) {
  std::vector<std::string> fields;
  for (std::size_t begin = 0; begin < line.size();) {
    const std::size_t end = std::min(line.find(' ', begin), line.size());
    if (end > begin) fields.emplace_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return fields;
}

std::string as_text(std::string word) {
  std::replace(word.begin(), word.end(), '_', ' ');
  return word;
}

/// The line that begins with `start`, which ends in a blank; empty: none does.
std::string line_with(const std::string& text, const std::string& start) {
  std::size_t at = text.starts_with(start) ? 0 : text.find("\n" + start);
  if (at == std::string::npos) return "";
  if (at > 0) ++at;
  return text.substr(at, text.find('\n', at) - at);
}

std::string with_article(const std::string& words) {
  static constexpr std::string_view kVowels = "aeiou";
  const char first = words.empty() ? 'x' : static_cast<char>(std::tolower(static_cast<unsigned char>(words.front())));
  return (kVowels.find(first) == std::string_view::npos ? "a " : "an ") + words;
}

std::string capitalised(std::string text) {
  if (!text.empty()) text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text;
}

/// "lamp or camera" as its two things.
std::vector<std::string> pieces_of(std::string name) {
  for (const std::string_view between : {" or ", " and ", ", "}) {
    for (std::size_t at = name.find(between); at != std::string::npos; at = name.find(between)) {
      name.replace(at, between.size(), "\n");
    }
  }
  std::vector<std::string> pieces;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('\n', begin), name.size());
    if (end > begin) pieces.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return pieces;
}

}  // namespace

WordNet::WordNet(const std::filesystem::path& folder) : folder_(folder) {
  for (const char* name : {"index.noun", "data.noun"}) {
    if (!std::filesystem::exists(folder / name)) {
      throw Error(fmt::format("wordnet: expected a file {} in {}, found none (Debian package wordnet-base)", name,
                              folder.string()));
    }
  }
  index_ = read_file(folder / "index.noun", kMostBytes);
  data_ = read_file(folder / "data.noun", kMostBytes);
  if (std::filesystem::exists(folder / "noun.exc")) exceptions_ = read_file(folder / "noun.exc", kMostBytes);
}

std::string WordNet::entry(const std::string& lemma) const {
  return line_with(index_, lemma + " ");
}

/// The lemma, its irregular singular, and what regular endings leave (wordnet's morphy).
std::vector<std::string> WordNet::forms(const std::string& lemma) const {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kEndings = {{{"s", ""},
                                                                                             {"ses", "s"},
                                                                                             {"xes", "x"},
                                                                                             {"zes", "z"},
                                                                                             {"ches", "ch"},
                                                                                             {"shes", "sh"},
                                                                                             {"men", "man"},
                                                                                             {"ies", "y"}}};
  std::vector<std::string> forms = {lemma};
  const std::vector<std::string> exception = fields_of(line_with(exceptions_, lemma + " "));
  for (std::size_t i = 1; i < exception.size(); ++i) forms.push_back(exception[i]);
  for (const auto& [ending, instead] : kEndings) {
    if (lemma.size() > ending.size() && lemma.ends_with(ending))
      forms.push_back(lemma.substr(0, lemma.size() - ending.size()) + std::string(instead));
  }
  return forms;
}

WordNet::Sense WordNet::read_sense(std::uint64_t offset) const {
  const auto damaged = [&](const char* what) {
    return Error(fmt::format("{}: offset {}: expected {}, found a damaged line", (folder_ / "data.noun").string(),
                             offset, what));
  };
  if (offset >= data_.size()) throw damaged("a line");
  const std::string_view line = std::string_view(data_).substr(offset, data_.find('\n', offset) - offset);
  const std::size_t bar = line.find(" | ");
  if (bar == std::string_view::npos) throw damaged("a gloss");
  const std::vector<std::string> fields = fields_of(line.substr(0, bar));
  const auto number = [&](std::size_t at, int base) {
    std::uint64_t value = 0;
    if (at >= fields.size()) throw damaged("more fields");
    const std::string& text = fields[at];
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (problem != std::errc{} || end != text.data() + text.size()) throw damaged("a number");
    return value;
  };
  constexpr std::size_t kWordCount = 3;
  if (number(0, 10) != offset) throw damaged("its own offset");
  const std::uint64_t words = number(kWordCount, 16);
  std::size_t at = kWordCount + 1;
  if (words == 0 || at + 2 * words >= fields.size()) throw damaged("its words");
  Sense sense;
  for (std::uint64_t i = 0; i < words; ++i, at += 2) sense.words.push_back(as_text(fields[at]));
  const std::uint64_t pointers = number(at++, 10);
  for (std::uint64_t i = 0; i < pointers; ++i, at += 4) {
    if (at + 3 >= fields.size()) throw damaged("its pointers");
    if (!fields[at].starts_with('@')) continue;
    const std::uint64_t other = number(at + 1, 10);
    if (other >= data_.size()) throw damaged("the place of a hypernym");
    const std::vector<std::string> kind = fields_of(std::string_view(data_).substr(other, 256));
    if (kind.size() > kWordCount + 1) sense.hypernyms.push_back(as_text(kind[kWordCount + 1]));
  }
  const std::string_view gloss = line.substr(bar + 3);
  sense.gloss = std::string(gloss.substr(0, std::min(gloss.find("; \""), gloss.size())));
  while (!sense.gloss.empty() && (sense.gloss.back() == ' ' || sense.gloss.back() == ';')) sense.gloss.pop_back();
  return sense;
}

std::vector<WordNet::Sense> WordNet::senses(std::string_view noun) const {
  std::string lemma;
  for (const char c : noun) {
    const bool blank = c == ' ' || c == '_';
    if (c == '\n' || (blank && (lemma.empty() || lemma.back() == '_'))) continue;
    lemma += blank ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (lemma.empty()) return {};
  std::vector<Sense> senses;
  for (const std::string& form : forms(lemma)) {
    const std::vector<std::string> fields = fields_of(entry(form));
    // lemma, n, senses, kinds of pointers and that many of them, two counts, offsets
    if (fields.size() < 6) continue;
    for (auto field = fields.rbegin(); field != fields.rend() && field->size() == 8 && senses.size() < kMostSenses;
         ++field) {
      std::uint64_t offset = 0;
      const auto [end, problem] = std::from_chars(field->data(), field->data() + field->size(), offset);
      if (problem != std::errc{} || end != field->data() + field->size()) break;
      senses.push_back(read_sense(offset));
    }
    std::reverse(senses.begin(), senses.end());
    break;
  }
  return senses;
}

std::vector<std::string> wordnet_sentences(const WordNet& wordnet, std::string_view class_name, int senses) {
  std::vector<std::string> sentences;
  for (const std::string& piece : pieces_of(as_text(std::string(class_name)))) {
    std::vector<WordNet::Sense> found = wordnet.senses(piece);
    std::string named = piece;
    const std::size_t last = piece.rfind(' ');
    if (found.empty() && last != std::string::npos) {
      named = piece.substr(last + 1);
      found = wordnet.senses(named);
    }
    found.resize(std::min(found.size(), static_cast<std::size_t>(std::max(senses, 1))));
    for (const WordNet::Sense& sense : found) {
      const std::string subject = capitalised(with_article(named));
      sentences.push_back(fmt::format("{} is {}.", subject, sense.gloss));
      for (const std::string& kind : sense.hypernyms)
        sentences.push_back(fmt::format("{} is a kind of {}.", subject, kind));
    }
  }
  return sentences;
}

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// The nouns of WordNet's data files (data.noun, index.noun and, where it is there, noun.exc).
class WordNet {
 public:
  /// Reads the folder's files whole. Throws Error that names the folder where they are missing.
  explicit WordNet(const std::filesystem::path& folder);

  /// One meaning of a noun.
  struct Sense {
    std::vector<std::string> words;      // that have this meaning
    std::string gloss;                   // definition, without examples
    std::vector<std::string> hypernyms;  // the first word of each kind that it is one of
  };
  /// The meanings of a noun, the most frequent first; blanks or underscores between its words. Plural forms are looked
  /// up as their singular where they are no entry of their own. Empty: not there. Throws Error for a damaged file.
  std::vector<Sense> senses(std::string_view noun) const;

 private:
  std::vector<std::string> forms(const std::string& lemma) const;
  std::string entry(const std::string& lemma) const;
  Sense read_sense(std::uint64_t offset) const;

  std::filesystem::path folder_;
  std::string index_, data_, exceptions_;
};

/// Sentences about a class from its first `senses` meanings: "A corgi is <gloss>." and "A corgi is a kind of
/// <hypernym>." A name with "or", "and" or commas is looked up piece by piece; of a compound that WordNet does not
/// have, the last word. Empty: WordNet knows nothing of it.
std::vector<std::string> wordnet_sentences(const WordNet& wordnet, std::string_view class_name, int senses = 1);

}  // namespace attune

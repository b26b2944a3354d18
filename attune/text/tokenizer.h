#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "attune/text/vocabulary.h"

namespace attune {

/// CLIP's byte-pair encoding: lower case, "</w>" ends a word. Ids equal those of transformers' fast tokenizer.
/// Ill-formed UTF-8 reads as U+FFFD. Special tokens written out in a text become their ids. Thread-safe once made.
class Tokenizer {
 public:
  /// A folder with tokenizer.json, or vocab.json and merges.txt; or OpenAI's bpe_simple_vocab_16e6.txt.gz as a file.
  static Tokenizer load(const std::filesystem::path& path);

  explicit Tokenizer(Vocabulary vocabulary);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of the text alone, without the special tokens.
  std::vector<std::int64_t> encode(std::string_view text) const;
  /// The text of ids, word ends as spaces, none at either end. Throws Error for an id outside the vocabulary.
  std::string decode(const std::vector<std::int64_t>& ids) const;
  /// The vocabulary entry of an id, such as "dog</w>".
  const std::string& token(std::int64_t id) const;

  std::int64_t start() const;  // id of <|startoftext|>
  std::int64_t end() const;    // id of <|endoftext|>
  std::int64_t size() const;   // entries of the vocabulary

  /// Writes tokenizer.json, vocab.json, merges.txt and tokenizer_config.json, which transformers and load() read.
  /// `context_length` is what transformers truncates to.
  void save(const std::filesystem::path& folder, std::int64_t context_length) const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace attune

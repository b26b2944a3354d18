#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// CLIP's byte-pair encoding: lower case, "</w>" ends a word. Ids equal those of transformers' fast tokenizer.
/// Thread-safe once made.
class Tokenizer {
 public:
  /// A folder with tokenizer.json, or vocab.json and merges.txt; or OpenAI's bpe_simple_vocab_16e6.txt.gz as a file.
  static Tokenizer load(const std::filesystem::path& path);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of the text alone, without the special tokens.
  std::vector<std::int64_t> encode(std::string_view text) const;
  /// The text of ids, word ends as spaces.
  std::string decode(const std::vector<std::int64_t>& ids) const;
  /// The vocabulary entry of an id, such as "dog</w>".
  const std::string& token(std::int64_t id) const;

  std::int64_t start() const;  // id of <|startoftext|>
  std::int64_t end() const;    // id of <|endoftext|>
  std::int64_t size() const;   // entries of the vocabulary

 private:
  struct Tables;
  explicit Tokenizer(std::unique_ptr<Tables> tables);
  std::unique_ptr<Tables> tables_;
};

}  // namespace attune

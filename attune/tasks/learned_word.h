#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "attune/tensors/tensor.h"

namespace attune {

/// An input embedding of a text encoder that a textual inversion found, as other programs exchange it.
struct LearnedWord {
  std::string name;  // the placeholder, such as "<cat-toy>"
  Tensor rows;       // [n, w]
};

/// How a word lies in a safetensors file.
enum class WordLayout {
  kDiffusers,  // {placeholder: [n, w]}; one row is written as [w]
  kA1111,      // {"emb_params": [n, w]}, the file's stem is the placeholder
};
/// "diffusers" or "a1111". Throws UsageError on another name.
WordLayout word_layout_named(std::string_view name);

/// Throws UsageError for a placeholder that is empty, has white space, or is a name that the other layout uses.
void write_learned_word(const std::filesystem::path& path, const LearnedWord& word, WordLayout layout);

/// Reads either layout. Throws Error that names the file where it holds anything else than one embedding.
LearnedWord read_learned_word(const std::filesystem::path& path);

/// Writes rows [n, w] that stand in place of what a text encoder says, as a pipeline takes them: {"prompt_embeds":
/// [1, n, w]}.
void write_prompt_embeddings(const std::filesystem::path& path, const Tensor& rows);
/// [n, w]. Throws Error that names the file.
Tensor read_prompt_embeddings(const std::filesystem::path& path);

}  // namespace attune

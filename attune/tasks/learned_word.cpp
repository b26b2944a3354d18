#include "attune/tasks/learned_word.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr const char* kA1111Name = "emb_params";
constexpr const char* kPromptName = "prompt_embeds";

/// The numbers of the only tensor of a file, in fp32.
Tensor only_rows(const std::filesystem::path& path, const TensorMap& tensors, std::int64_t dimensions) {
  const Tensor& rows = tensors.begin()->second;
  if (!rows.is_floating_point() || rows.dim() < 1 || rows.dim() > dimensions || rows.numel() == 0) {
    throw Error(fmt::format("{}: expected '{}' to be an embedding [n, width], found [{}]", path.string(),
                            tensors.begin()->first, fmt::join(rows.sizes(), ", ")));
  }
  const Tensor numbers = rows.to(at::kFloat);
  if (!numbers.isfinite().all().item<bool>()) {
    throw Error(fmt::format("{}: expected finite numbers in '{}'", path.string(), tensors.begin()->first));
  }
  return numbers;
}

TensorMap one_tensor(const std::filesystem::path& path) {
  TensorMap tensors = load_tensors(path);
  if (tensors.size() != 1) {
    throw Error(fmt::format("{}: expected one tensor, found {}", path.string(), tensors.size()));
  }
  return tensors;
}

}  // namespace

WordLayout word_layout_named(std::string_view name) {
  if (name == "diffusers") return WordLayout::kDiffusers;
  if (name == "a1111") return WordLayout::kA1111;
  throw UsageError(fmt::format("layout: expected diffusers or a1111, found \"{}\"", name));
}

void write_learned_word(const std::filesystem::path& path, const LearnedWord& word, WordLayout layout) {
  const bool spaced = std::any_of(word.name.begin(), word.name.end(),
                                  [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; });
  if (word.name.empty() || spaced || word.name == kA1111Name || word.name == kPromptName) {
    throw UsageError(fmt::format(
        "placeholder: expected a word of its own without spaces, such as <cat-toy>, found \"{}\"", word.name));
  }
  if (layout == WordLayout::kA1111) return save_tensors(path, {{kA1111Name, word.rows}});
  save_tensors(path, {{word.name, word.rows.size(0) == 1 ? word.rows[0] : word.rows}});
}

LearnedWord read_learned_word(const std::filesystem::path& path) {
  const TensorMap tensors = one_tensor(path);
  const Tensor rows = only_rows(path, tensors, 2);
  const std::string& name = tensors.begin()->first;
  return {name == kA1111Name ? path.stem().string() : name, rows.dim() == 1 ? rows.unsqueeze(0) : rows};
}

void write_prompt_embeddings(const std::filesystem::path& path, const Tensor& rows) {
  save_tensors(path, {{kPromptName, rows.unsqueeze(0)}});
}

Tensor read_prompt_embeddings(const std::filesystem::path& path) {
  const TensorMap tensors = one_tensor(path);
  const Tensor rows = only_rows(path, tensors, 3);
  if (tensors.begin()->first != kPromptName || rows.dim() != 3 || rows.size(0) != 1) {
    throw Error(fmt::format("{}: expected '{}' [1, n, width], found '{}' [{}]", path.string(), kPromptName,
                            tensors.begin()->first, fmt::join(rows.sizes(), ", ")));
  }
  return rows[0];
}

}  // namespace attune

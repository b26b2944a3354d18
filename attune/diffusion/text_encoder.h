#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attune/clip/model.h"
#include "attune/clip/transformer.h"

namespace attune {

/// The frozen text side of a diffusion model: a CLIP text tower of which every row is used, after the final norm, and
/// no projection (transformers' CLIPTextModel, last_hidden_state). Texts are filled up to the context length with the
/// tokenizer's padding token, and those rows are used too. Thread-safe.
class TextEncoder {
 public:
  /// Reads text_encoder/ and tokenizer/ of a diffusion folder. Throws Error that names the file and what is missing.
  static TextEncoder load(const std::filesystem::path& folder);

  const TextConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  std::int64_t padding() const { return padding_; }

  /// Ids [texts, context length]: start, the text, end, padding. A text that is too long is an Error that names it.
  Tensor ids(const std::vector<std::string>& texts) const;
  /// Rows of the token embedding: ids [any shape] -> [any shape, width].
  Tensor embed(const Tensor& ids) const;
  /// embedded [B, n, width], without positions, n at most the context length -> hidden rows [B, n, width]. Gradients
  /// reach `embedded`.
  Tensor encode(const Tensor& embedded) const;
  /// Hidden rows [texts, context length, width], without gradients.
  Tensor encode(const std::vector<std::string>& texts) const;
  /// Hidden rows [1, context length, width] of a text with learned input embeddings `tokens` [n, width] in place of its
  /// one "{}". Gradients reach `tokens`. Throws UsageError where the text has no such place or is too long.
  Tensor encode_filled(const std::string& text, const Tensor& tokens) const;

 private:
  TextConfig config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::int64_t padding_ = 0;
  Tensor tokens_, positions_;
  Transformer<FrozenLinear> transformer_;
  LayerNorm final_;
};

/// Reads text_encoder/config.json.
TextConfig read_text_encoder_config(const std::filesystem::path& folder);

/// Writes text_encoder/ and tokenizer/ into `folder`: the text side of a Hugging Face CLIP folder, numbers of the type
/// `type`. Throws Error where `clip` is another kind of folder.
void write_text_encoder(const std::filesystem::path& clip, const std::filesystem::path& folder, at::ScalarType type);

}  // namespace attune

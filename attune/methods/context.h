#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/methods/learner.h"

namespace attune {

/// Where the class name stands: behind the context, inside it, or before it (CoOp section 3.1).
enum class NamePosition { kEnd, kMiddle, kFront };
NamePosition parse_name_position(std::string_view text);

/// The settings of a learnable context, and the configuration keys that give them.
struct ContextSettings {
  std::int64_t length = 16;
  std::string words;  // initial words; they set the length
  double deviation = 0.02;
  bool class_specific = false;
  NamePosition position = NamePosition::kEnd;

  /// `words`: the default of context.init.
  static Schema schema(const std::string& words = "");
  explicit ContextSettings(const Config& config);
};

/// Puts a context into the prompts of class names: [SOS, context, name, ".", EOS] or the same with the name inside or
/// before the context. Tokenisation and the frozen embeddings are done once.
class ContextPrompts {
 public:
  /// `following`: tokens between a shared context and the names behind it, frozen and part of the prefix. Throws Error
  /// that names the class whose prompt does not fit into the model's context length.
  ContextPrompts(const ClipModel& model, const ClassNames& classes, std::int64_t context_length, bool class_specific,
                 NamePosition position, const std::vector<std::int64_t>& following = {});

  /// context [M, width] shared, or [C, M, width] class-specific -> prompts with one prefix.
  Prompts operator()(const Tensor& context) const;
  /// contexts [P, M, width], one for each image (or domain) -> prompts with P prefixes before the same names. Only for
  /// a shared context before the name.
  Prompts of_each(const Tensor& contexts) const;

 private:
  std::int64_t prefix_rows_;  // context rows that belong to the prefix
  Tensor start_;              // [1, width]
  Tensor following_;          // [words, width], of the prefix, behind the context
  Tensor fixed_;              // [rows, width], frozen embeddings of names and ends
  Tensor index_;              // [C * Ls] into the fixed rows followed by the context rows
  Tensor suffix_;             // [1, C, Ls, width] where no context row stands in it; else undefined
  Tensor end_;                // [C]
  std::int64_t classes_, suffix_length_;
};

/// The start of a context: word embeddings where words are given, else normal numbers keyed by the seed.
/// [M, width], or [C, M, width] where it is class-specific.
Tensor initial_context(const ClipModel& model, const ContextSettings& settings, std::int64_t classes,
                       std::uint64_t seed);

}  // namespace attune

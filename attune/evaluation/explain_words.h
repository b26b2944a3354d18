#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/clip/model.h"

namespace attune {

/// An entry of the vocabulary near a learned token.
struct NearWord {
  std::string word;
  double value = 0;  // cosine, or L2 distance
};

/// What a learned token lies near.
struct TokenWords {
  std::string tensor;                // of the adapter
  std::string part;                  // class, prompt or domain whose token it is; empty: all share it
  std::int64_t token = 0;            // place in the context, from 0
  double length = 0;                 // of the vector
  std::vector<NearWord> cosine, l2;  // nearest first
};

/// What is usual among the entries themselves, to judge a distance by.
struct VocabularyScale {
  std::int64_t entries = 0;
  double length = 0;            // mean length of an entry's embedding
  double nearest_cosine = 0;    // mean over entries of the cosine with the nearest other one
  double nearest_distance = 0;  // the same in L2
};

/// The token embeddings of a model's vocabulary as a space to look words up in.
class WordSpace {
 public:
  /// Whole words only: entries that end a word, hold letters and digits only, and are what their
  /// own text is split into; `pieces`: every entry but
  /// the special ones.
  WordSpace(const ClipModel& model, bool pieces);

  /// The `count` nearest entries of every row of `tokens` [n, width].
  std::vector<TokenWords> near(const Tensor& tokens, std::int64_t count) const;
  /// Over at most 256 entries, evenly spaced.
  VocabularyScale scale() const;
  /// Mean embedding [width] of the entries.
  Tensor mean() const { return embeddings_.mean(0); }

 private:
  std::vector<std::string> words_;
  Tensor embeddings_, unit_;  // [V, width]
};

/// Is a tensor of an adapter made of tokens of the text tower? Decided by its role ("context", "contexts",
/// "training_context", "text.<block>", "labels.<domain>" with or without something before it) and its last dimension.
bool holds_text_tokens(const std::string& name, const Tensor& tensor, std::int64_t text_width);

/// The nearest words of every such token. `classes` name the parts of a class-specific context.
std::vector<TokenWords> words_of_adapter(const TensorMap& tensors, const WordSpace& space,
                                         const std::vector<std::string>& classes, std::int64_t text_width,
                                         std::int64_t count);

}  // namespace attune

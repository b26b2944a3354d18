#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/formats/safetensors.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// Packed drawings with captions and a sentence encoder's embeddings of them: the folder that scripts/pocket makes.
///   drawings.safetensors  rgba U8 [N, 64, 64, 4] premultiplied, mono U8 [N], key I64 [N], weight F32 [N], kind U8 [N],
///                         caption I32 [N, K]
///   texts.txt             T lines
///   teacher.safetensors   embedding F16 or F32 [T, E], mean F32 [E], axes F32 [d, E]
///   pack.json             rows.evaluation [first, past]: the last texts, which are the sentences of evaluations
class PretrainData {
 public:
  /// Errors name the file, the tensor, and what does not fit.
  explicit PretrainData(const std::filesystem::path& folder);

  std::int64_t drawings() const { return rgba_.size(0); }
  std::int64_t width() const { return rgba_.size(2); }
  const std::vector<std::string>& texts() const { return texts_; }
  /// The first texts, on which training may draw; the others are the sentences of evaluations.
  std::int64_t training_texts() const { return training_texts_; }
  /// The teacher's embeddings of all texts: mean taken off, projected on its axes, unit length: [T, d].
  const Tensor& targets() const { return targets_; }

  struct Batch {
    Tensor rgba;  // [B, 64, 64, 4] U8, premultiplied
    Tensor mono;  // [B] bool: only the alpha means anything
    Tensor key;   // [B] int64: equal for drawings of the same thing
    Tensor text;  // [B] int64: one of the drawing's captions, row of texts()
  };
  /// The batch of a step, by (seed, step) alone: `emoji_share` of the drawings are emoji (kind 0), all drawn in
  /// proportion to their weights, one from each of B equal strata, so that a batch is spread over the whole list.
  Batch draw(std::int64_t size, double emoji_share, std::uint64_t seed, std::int64_t step) const;

 private:
  /// Drawings with the running sum of their weights.
  struct Pool {
    std::vector<std::int64_t> drawings;
    std::vector<double> sums;
  };
  void read_drawings();
  void read_rows(const std::filesystem::path& folder);
  void read_teacher(const std::filesystem::path& folder);

  SafetensorsFile file_;
  Tensor rgba_, mono_, key_, caption_;
  Pool emoji_, others_;
  std::vector<std::string> texts_;
  Tensor targets_;
  std::int64_t training_texts_ = 0;
};

}  // namespace attune

#pragma once

#include <cstdint>
#include <vector>

#include "attune/tensors/tensor.h"

namespace attune {

/// Token embeddings of C classes under P contexts, split where the classes begin to differ. Under the causal mask a
/// prefix cannot see its suffix, so its keys and values are computed once and reused by every class; the result equals
/// that of the padded sequences.
struct Prompts {
  Tensor prefix;  // [P, Lp, width], Lp >= 1 (the start token)
  Tensor suffix;  // [1 or P, C, Ls, width], padded at the end; P where the context stands inside the suffix
  Tensor end;     // [C] int64, position of the end token within the suffix
};

/// Where the tokens of a block's tuning stand.
enum class Place {
  kOverwriteAfterStart,  // text: positions 1..n are overwritten (MaPLe, DCPL, PromptSRC)
  kAfterClass,           // image: inserted after the class token (VPT); from the second tuned block on, overwritten
  kAtEnd,                // image: appended at the end (MaPLe); from the second tuned block on, overwritten
};

/// Low-rank delta of one projection: scale * up(singular * down(x)); `singular` may be undefined. With dropout > 0
/// the input of `down` is dropped at that rate with a keyed mask (training only).
struct LowRank {
  Tensor down;      // [r, in]
  Tensor up;        // [out, r]
  Tensor singular;  // [r] or undefined
  double scale = 1.0;
  double dropout = 0.0;
  std::uint64_t dropout_key = 0;  // another key, another mask: change it with every step
  bool defined() const { return down.defined(); }
};

/// What a method adds to one block of a frozen tower; undefined tensors mean "nothing".
struct BlockTuning {
  Place place = Place::kAtEnd;
  Tensor tokens;  // [1 or B, n, width]
  LowRank q, k, v, out;
  LowRank qkv;  // for methods that adapt the fused projection
};

/// What a method adds to a tower. Towers hold no method's state: a Tuning is passed with every call.
struct Tuning {
  /// One entry a block, from the first; a shorter list leaves the later blocks as they are. In an image tower
  /// blocks[0].tokens enter before ln_pre.
  std::vector<BlockTuning> blocks;
};

}  // namespace attune

#pragma once

#include <vector>

#include "attune/clip/prompts.h"
#include "attune/tensors/layers.h"
#include "attune/tensors/linear.h"

namespace attune {

/// One pre-norm block: x + out(attention(norm1 x)), then x + fc2(activation(fc1(norm2 x))). L is Linear (trains) or
/// FrozenLinear; this is the only forward of a block in the project.
template <class L>
struct Block {
  LayerNorm norm1, norm2;
  L qkv;  // fused: rows of q, then of k, then of v
  L out, fc1, fc2;
};

template <class L>
struct Transformer {
  std::vector<Block<L>> blocks;
  std::int64_t heads = 1;
  Activation activation = Activation::kGelu;
};

/// Multiplications and additions of the blocks' frozen layers for so many rows of a tower's configuration.
template <class TowerConfig>
double tower_operations(const TowerConfig& config, std::int64_t rows) {
  return 2.0 * static_cast<double>(rows * config.layers * config.width * (4 * config.width + 2 * config.hidden));
}

/// y + scale * up(singular * down(dropout(x))); y where the delta is undefined. x [rows, in], y [rows, out]. `names`
/// [rows] int64 tell rows apart: a row's mask is drawn under the delta's key and the row's name, so that it is the same
/// however a call is cut. Throws Error where dropout is on and names are missing.
Tensor add_low_rank(const Tensor& output, const Tensor& input, const LowRank& delta, const Tensor& names = {});

/// Queries, keys and values [rows, 3 width] of rows [rows, width], with the tuning's deltas; names as above.
template <class L>
Tensor fused_qkv(const Block<L>& block, const Tensor& rows, const BlockTuning& tuning, const Tensor& names = {}) {
  const Tensor normal = block.norm1(rows);
  Tensor fused = add_low_rank(block.qkv(normal), normal, tuning.qkv, names);
  if (!tuning.q.defined() && !tuning.k.defined() && !tuning.v.defined()) return fused;
  auto parts = fused.chunk(3, 1);
  return at::cat({add_low_rank(parts[0], normal, tuning.q, names), add_low_rank(parts[1], normal, tuning.k, names),
                  add_low_rank(parts[2], normal, tuning.v, names)},
                 1);
}

/// The rest of a block for rows [rows, width], given what attention mixed for them [rows, width]; names as above.
template <class L>
Tensor finish_block(const Block<L>& block, Activation activation, const Tensor& rows, const Tensor& mixed,
                    const BlockTuning& tuning, const Tensor& names = {}) {
  const Tensor attended = add_low_rank(block.out.added(mixed, rows), mixed, tuning.out, names);
  return block.fc2.added(block.fc1.activated(block.norm2(attended), activation), attended);
}

/// The tuning of a block; an empty one where the list is shorter.
const BlockTuning& tuning_of(const Tuning& tuning, std::size_t block);

/// Every defined tensor of a tuning.
std::vector<Tensor*> tensors_of(Tuning& tuning);

/// What a call of a frozen tower with gradients holds at most. The graphs of the first parts are kept for the backward;
/// the others are computed again there.
struct GraphLimits {
  std::int64_t row_bytes = 0;  // that the graph of a row holds
  std::int64_t kept_rows = 0;  // whose graphs are kept
  std::int64_t part_rows = 0;  // at most of a part; a thread has one in work
};

/// Floats that the graphs of the deltas of all blocks keep of a row for the backward, beside those of the blocks.
std::int64_t floats_of_deltas(const Tuning& tuning, std::int64_t width);

/// What the graph of a row holds: in each block the input of both norms, queries, keys and values, and the MLP's hidden
/// units before their activation; and what the tuning's deltas keep.
template <class TowerConfig>
std::int64_t graph_bytes_of_row(const TowerConfig& config, const Tuning& tuning) {
  const std::int64_t blocks = config.layers * (5 * config.width + config.hidden);
  return (blocks + floats_of_deltas(tuning, config.width)) * static_cast<std::int64_t>(sizeof(float));
}

/// Whether any delta's input is dropped.
bool drops(const Tuning& tuning);
/// Whether a gradient is computed here, and any of the tensors asks for one.
bool wants_gradients(const std::vector<Tensor*>& tensors);

/// Throws Error where a tuning has more entries than the tower has blocks, or tensors that do not fit its width.
void check_tuning(const Tuning& tuning, std::size_t blocks, std::int64_t width, const char* tower);

}  // namespace attune

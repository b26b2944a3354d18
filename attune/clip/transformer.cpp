#include "attune/clip/transformer.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/random.h"

namespace attune {
namespace {

/// What dropout leaves out of rows of `width` entries [rows, width], a byte each.
Tensor dropped(const Tensor& names, std::int64_t width, double rate, std::uint64_t key) {
  Tensor mask = at::empty({names.size(0), width}, at::kBool);
  const auto below = static_cast<std::uint32_t>(rate * 0x1p32);
  bool* to = mask.mutable_data_ptr<bool>();
  const Tensor each = names.contiguous();
  for (std::int64_t row = 0; row < names.size(0); ++row) {
    KeyedRandom random(key, "dropout", static_cast<std::uint64_t>(each.const_data_ptr<std::int64_t>()[row]));
    for (std::int64_t i = 0; i < width; ++i) *to++ = random.next_u32() < below;
  }
  return mask;
}

/// The input of a delta's `down` under dropout; what is left must be scaled by 1 / (1 - rate).
Tensor drop(const Tensor& input, const LowRank& delta, const Tensor& names) {
  if (!names.defined() || names.size(0) != input.size(0)) {
    throw Error(fmt::format("low-rank delta: expected the names of {} rows, which key its dropout, found {}",
                            input.size(0), names.defined() ? names.size(0) : 0));
  }
  const Tensor mask = dropped(names, input.size(1), delta.dropout, delta.dropout_key);
  return input.masked_fill(mask.to(input.device()), 0);
}

std::array<const LowRank*, 5> deltas_of(const BlockTuning& block) {
  return {&block.q, &block.k, &block.v, &block.qkv, &block.out};
}

void check_low_rank(const LowRank& delta, const char* name, std::int64_t in, std::int64_t out,
                    const std::string& where) {
  if (!delta.defined()) return;
  const bool fits = delta.up.defined() && delta.down.dim() == 2 && delta.up.dim() == 2 && delta.down.size(1) == in &&
                    delta.up.size(0) == out && delta.down.size(0) == delta.up.size(1) &&
                    (!delta.singular.defined() || delta.singular.numel() == delta.down.size(0));
  if (!fits) {
    throw Error(
        fmt::format("{}: expected a low-rank delta of {} with down [r, {}] and up [{}, r], found down [{}] and "
                    "up [{}]",
                    where, name, in, out, fmt::join(delta.down.sizes(), ", "),
                    delta.up.defined() ? fmt::format("{}", fmt::join(delta.up.sizes(), ", ")) : ""));
  }
  if (delta.dropout < 0.0 || delta.dropout >= 1.0) {
    throw Error(fmt::format("{}: expected a dropout in [0, 1), found {}", where, delta.dropout));
  }
}

}  // namespace

Tensor add_low_rank(const Tensor& output, const Tensor& input, const LowRank& delta, const Tensor& names) {
  if (!delta.defined()) return output;
  Tensor low = at::linear(delta.dropout > 0.0 ? drop(input, delta, names) : input, delta.down);
  if (delta.singular.defined()) low = low * delta.singular;
  return output + at::linear(low, delta.up) * (delta.scale / (1.0 - delta.dropout));
}

const BlockTuning& tuning_of(const Tuning& tuning, std::size_t block) {
  static const BlockTuning kNothing;
  return block < tuning.blocks.size() ? tuning.blocks[block] : kNothing;
}

std::vector<Tensor*> tensors_of(Tuning& tuning) {
  std::vector<Tensor*> tensors;
  for (auto& block : tuning.blocks) {
    tensors.push_back(&block.tokens);
    for (auto* delta : {&block.q, &block.k, &block.v, &block.out, &block.qkv}) {
      tensors.insert(tensors.end(), {&delta->down, &delta->up, &delta->singular});
    }
  }
  std::erase_if(tensors, [](const Tensor* tensor) { return !tensor->defined(); });
  return tensors;
}

bool drops(const Tuning& tuning) {
  return std::any_of(tuning.blocks.begin(), tuning.blocks.end(), [](const BlockTuning& block) {
    const auto deltas = deltas_of(block);
    return std::any_of(deltas.begin(), deltas.end(), [](const LowRank* delta) { return delta->dropout > 0.0; });
  });
}

std::int64_t floats_of_deltas(const Tuning& tuning, std::int64_t width) {
  std::int64_t floats = 0;
  for (const BlockTuning& block : tuning.blocks) {
    bool normal = false;  // the norm's output, which q, k and v share unless each drops its own
    for (const LowRank* delta : deltas_of(block)) {
      if (!delta->defined()) continue;
      if (delta->dropout > 0.0) {
        floats += width + width / 4;  // what is left, and a byte an entry
      } else if (delta == &block.out) {
        floats += width;
      } else {
        normal = true;
      }
    }
    if (normal) floats += width;
  }
  return floats;
}

bool wants_gradients(const std::vector<Tensor*>& tensors) {
  return at::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const Tensor* tensor) { return tensor->requires_grad(); });
}

void check_tuning(const Tuning& tuning, std::size_t blocks, std::int64_t width, const char* tower) {
  if (tuning.blocks.size() > blocks) {
    throw Error(
        fmt::format("{}: expected a tuning of at most {} blocks, found {}", tower, blocks, tuning.blocks.size()));
  }
  for (std::size_t i = 0; i < tuning.blocks.size(); ++i) {
    const auto& block = tuning.blocks[i];
    const std::string where = fmt::format("{}, tuning of block {}", tower, i);
    if (block.tokens.defined() && (block.tokens.dim() != 3 || block.tokens.size(2) != width)) {
      throw Error(fmt::format("{}: expected tokens [1 or B, n, {}], found [{}]", where, width,
                              fmt::join(block.tokens.sizes(), ", ")));
    }
    check_low_rank(block.q, "q", width, width, where);
    check_low_rank(block.k, "k", width, width, where);
    check_low_rank(block.v, "v", width, width, where);
    check_low_rank(block.out, "out", width, width, where);
    check_low_rank(block.qkv, "qkv", width, 3 * width, where);
  }
}

}  // namespace attune

#include "attune/clip/transformer.h"

#include <algorithm>

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

Tensor drop(const Tensor& input, double rate, std::uint64_t key) {
  const auto generator = at::detail::createCPUGenerator(key);
  const Tensor kept = at::empty(input.sizes(), at::kFloat).bernoulli_(1.0 - rate, generator) / (1.0 - rate);
  return input * kept.to(input.options());
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

Tensor add_low_rank(const Tensor& output, const Tensor& input, const LowRank& delta) {
  if (!delta.defined()) return output;
  Tensor low = at::linear(delta.dropout > 0.0 ? drop(input, delta.dropout, delta.dropout_key) : input, delta.down);
  if (delta.singular.defined()) low = low * delta.singular;
  return output + at::linear(low, delta.up) * delta.scale;
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

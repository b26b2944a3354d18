#include "attune/tasks/tower_lora.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/learner.h"

namespace attune {
namespace {

constexpr const char* kProjections[] = {"q", "k", "v", "out"};

std::string name_of(std::int64_t block, const char* projection) {
  return fmt::format("{}.{}", block, projection);
}

LowRank& delta_of(BlockTuning& block, std::string_view projection) {
  return projection == "q" ? block.q : projection == "k" ? block.k : projection == "v" ? block.v : block.out;
}

}  // namespace

TensorMap first_tower_lora(const VisionConfig& config, std::int64_t rank, std::uint64_t seed) {
  if (rank < 1 || rank > config.width) {
    throw UsageError(fmt::format("second.rank: expected 1 to {}, found {}", config.width, rank));
  }
  KeyedRandom random(seed, "tower.lora");
  const double bound = 1.0 / std::sqrt(static_cast<double>(config.width));
  TensorMap tensors;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    for (const char* projection : kProjections) {
      tensors[name_of(i, projection) + ".down"] =
          uniform({rank, config.width}, -bound, bound, random).set_requires_grad(true);
      tensors[name_of(i, projection) + ".up"] = at::zeros({config.width, rank}).set_requires_grad(true);
    }
  }
  return tensors;
}

Tuning tower_lora(const TensorMap& tensors, const VisionConfig& config) {
  Tuning tuning;
  if (tensors.empty()) return tuning;
  const auto first = tensors.find("0.q.down");
  const std::int64_t rank = first == tensors.end() || first->second.dim() != 2 ? 1 : first->second.size(0);
  TensorMap expected = first_tower_lora(config, std::min(rank, config.width), 0);
  const std::string where = "adapter, low-rank deltas of the image tower";
  copy_state(tensors, expected, where);
  tuning.blocks.resize(static_cast<std::size_t>(config.layers));
  for (std::int64_t i = 0; i < config.layers; ++i) {
    for (const char* projection : kProjections) {
      LowRank& delta = delta_of(tuning.blocks[static_cast<std::size_t>(i)], projection);
      // Those that were given: they may be learned.
      delta.down = tensors.at(name_of(i, projection) + ".down");
      delta.up = tensors.at(name_of(i, projection) + ".up");
    }
  }
  return tuning;
}

}  // namespace attune

#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace attune {

/// The bijection Philox4x32-10 of a counter under a key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Random numbers that depend on nothing but (seed, purpose, index): the same after a resume, in any order and on any
/// number of threads. A counter-based generator (Philox4x32-10, Salmon et al. 2011): the key is made of the seed and
/// the purpose, the upper half of the counter is the index, the lower half counts the draws.
class KeyedRandom {
 public:
  KeyedRandom(std::uint64_t seed, std::string_view purpose, std::uint64_t index = 0);

  std::uint32_t next_u32();
  std::uint64_t next_u64();
  /// Uniform in [0, 1), 53 random bits.
  double uniform();
  /// Uniform in [low, high).
  double uniform(double low, double high);
  /// Uniform integer in [0, bound), without bias. `bound` must be positive.
  std::uint64_t below(std::uint64_t bound);
  /// Standard normal (Box-Muller, one of the pair at a time).
  double normal();
  bool chance(double probability) { return uniform() < probability; }

  /// Fisher-Yates shuffle.
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  void refill();

  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
};

/// 0, 1, ..., count - 1 in the random order of (seed, purpose, index).
std::vector<std::int64_t> random_order(std::int64_t count, std::uint64_t seed, std::string_view purpose,
                                       std::uint64_t index = 0);

}  // namespace attune

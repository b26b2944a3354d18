#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace attune {

/// The generator of CPython's `random` module, bit for bit: `random.seed(n)` for a non-negative n, `getrandbits` and
/// `sample` (MT19937 of Matsumoto and Nishimura 1998, seeded by its init_by_array; unchanged from Python 3.2 to 3.13).
class CpythonRandom {
 public:
  explicit CpythonRandom(std::uint64_t seed);

  /// 0 to 32 random bits.
  std::uint32_t getrandbits(int count);
  /// Uniform in [0, bound), by rejection. `bound` must be in 1..2^32 - 1.
  std::uint32_t below(std::uint32_t bound);
  /// The positions that `random.sample(population, count)` picks from a population of `size`, in its order. Throws
  /// Error where count > size.
  std::vector<std::size_t> sample(std::size_t size, std::size_t count);

 private:
  std::uint32_t next();
  void twist();

  std::array<std::uint32_t, 624> state_{};
  std::size_t used_ = 624;
};

}  // namespace attune

#include "attune/data/cpython_random.h"

#include <bit>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::size_t kSize = 624;
constexpr std::size_t kMiddle = 397;

}  // namespace

CpythonRandom::CpythonRandom(std::uint64_t seed) {
  state_[0] = 19650218U;
  for (std::uint32_t i = 1; i < kSize; ++i) state_[i] = 1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  // The key is the seed's 32-bit digits, the lowest first, without leading zero digits.
  const std::array<std::uint32_t, 2> key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  const std::uint32_t length = key[1] != 0 ? 2 : 1;
  std::size_t i = 1;
  const auto wrap = [&] {
    if (++i >= kSize) {
      state_[0] = state_[kSize - 1];
      i = 1;
    }
  };
  for (std::uint32_t k = 0; k < kSize; ++k) {
    const std::uint32_t j = k % length;
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525U)) + key[j] + j;
    wrap();
  }
  for (std::size_t k = 1; k < kSize; ++k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941U)) - static_cast<std::uint32_t>(i);
    wrap();
  }
  state_[0] = 0x80000000U;
}

void CpythonRandom::twist() {
  for (std::size_t i = 0; i < kSize; ++i) {
    const std::uint32_t bits = (state_[i] & 0x80000000U) | (state_[(i + 1) % kSize] & 0x7fffffffU);
    state_[i] = state_[(i + kMiddle) % kSize] ^ (bits >> 1) ^ ((bits & 1U) != 0 ? 0x9908b0dfU : 0U);
  }
  used_ = 0;
}

std::uint32_t CpythonRandom::next() {
  if (used_ == kSize) twist();
  std::uint32_t bits = state_[used_++];
  bits ^= bits >> 11;
  bits ^= (bits << 7) & 0x9d2c5680U;
  bits ^= (bits << 15) & 0xefc60000U;
  return bits ^ (bits >> 18);
}

std::uint32_t CpythonRandom::getrandbits(int count) {
  return count == 0 ? 0 : next() >> (32 - count);
}

std::uint32_t CpythonRandom::below(std::uint32_t bound) {
  const int bits = std::bit_width(bound);
  std::uint32_t drawn = getrandbits(bits);
  while (drawn >= bound) drawn = getrandbits(bits);
  return drawn;
}

std::vector<std::size_t> CpythonRandom::sample(std::size_t size, std::size_t count) {
  if (count > size) throw Error(fmt::format("sample: expected at most {} to draw, found {}", size, count));
  // CPython keeps a pool where a list of the population is smaller than a hash set of the picks would be.
  double set_size = 21;
  if (count > 5) set_size += std::pow(4.0, std::ceil(std::log(static_cast<double>(count) * 3) / std::log(4.0)));
  std::vector<std::size_t> picked(count);
  if (static_cast<double>(size) <= set_size) {
    std::vector<std::size_t> pool(size);
    std::iota(pool.begin(), pool.end(), std::size_t{0});
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = below(static_cast<std::uint32_t>(size - i));
      picked[i] = pool[at];
      pool[at] = pool[size - i - 1];
    }
    return picked;
  }
  std::unordered_set<std::size_t> taken;
  for (std::size_t& pick : picked) {
    do pick = below(static_cast<std::uint32_t>(size));
    while (!taken.insert(pick).second);
  }
  return picked;
}

}  // namespace attune

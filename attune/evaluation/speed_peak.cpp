#include "attune/evaluation/speed_peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "attune/tensors/parallel.h"
#include "attune/tensors/processor.h"

namespace attune {
namespace {

using Clock = std::chrono::steady_clock;

// Independent sums in flight: more than latency times units of any processor we know, no more than registers.
constexpr int kSums = 12;

/// Runs `rounds` x kSums vector multiply-adds; the sum of the results, so that none can be left out.
using Loop = float (*)(std::int64_t rounds, float factor, float term);

float portable_loop(std::int64_t rounds, float factor, float term) {
  float sums[8 * kSums] = {};
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (float& sum : sums) sum = sum * factor + term;
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) float avx2_loop(std::int64_t rounds, float factor, float term) {
  const __m256 factors = _mm256_set1_ps(factor), terms = _mm256_set1_ps(term);
  __m256 sums[kSums];
  for (__m256& sum : sums) sum = terms;
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factors, terms);
  }
  __m256 total = terms;
  for (const __m256& sum : sums) total = _mm256_add_ps(total, sum);
  return _mm256_cvtss_f32(total);
}

__attribute__((target("avx512f"))) float avx512_loop(std::int64_t rounds, float factor, float term) {
  const __m512 factors = _mm512_set1_ps(factor), terms = _mm512_set1_ps(term);
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = terms;
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factors, terms);
  }
  __m512 total = terms;
  for (const __m512& sum : sums) total = _mm512_add_ps(total, sum);
  return _mm512_cvtss_f32(total);
}

__attribute__((target("avx512f,avx512bf16"))) float bf16_loop(std::int64_t rounds, float factor, float term) {
  const __m512bh factors = _mm512_cvtne2ps_pbh(_mm512_set1_ps(factor), _mm512_set1_ps(factor));
  const __m512bh terms = _mm512_cvtne2ps_pbh(_mm512_set1_ps(term), _mm512_set1_ps(term));
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_set1_ps(term);
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, factors, terms);
  }
  __m512 total = _mm512_set1_ps(term);
  for (const __m512& sum : sums) total = _mm512_add_ps(total, sum);
  return _mm512_cvtss_f32(total);
}

__attribute__((target("avx512f,avx512vnni"))) float int8_loop(std::int64_t rounds, float factor, float term) {
  const __m512i factors = _mm512_set1_epi8(static_cast<char>(4 * factor));
  __m512i sums[kSums];
  for (__m512i& sum : sums) sum = _mm512_set1_epi32(static_cast<int>(4 * term));
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, factors, factors);
  }
  __m512i total = factors;
  for (const __m512i& sum : sums) total = _mm512_add_epi32(total, sum);
  return static_cast<float>(_mm512_cvtsi512_si32(total));
}

#endif

struct Kernel {
  Loop loop = portable_loop;
  double operations = 8 * 2 * kSums;  // a round
};

/// The fastest piece of each thread, added up: no thread waits for another, which on a busy machine may stand in a
/// queue.
PeakSpeed::Measured measure(const Kernel& kernel, double seconds) {
  constexpr std::int64_t kRounds = std::int64_t{1} << 18;  // half a millisecond, so that some pieces run undisturbed
  const std::int64_t threads = parallel_width();
  std::vector<double> best(static_cast<std::size_t>(threads), 0.0);
  std::vector<int> pieces(best.size(), 0);
  std::vector<float> results(best.size(), 0.0F);
  in_parallel(threads, [&](std::int64_t thread) {
    volatile float factor = 0.5F, term = 0.25F;
    const auto index = static_cast<std::size_t>(thread);
    const auto begin = Clock::now();
    for (; pieces[index] < 3 || Clock::now() - begin < std::chrono::duration<double>(seconds); ++pieces[index]) {
      const auto start = Clock::now();
      results[index] += kernel.loop(kRounds, factor, term);
      const std::chrono::duration<double> time = Clock::now() - start;
      best[index] = std::max(best[index], kernel.operations * static_cast<double>(kRounds) / time.count());
    }
  });
  return {std::accumulate(best.begin(), best.end(), 0.0), *std::min_element(pieces.begin(), pieces.end())};
}

}  // namespace

PeakSpeed measure_peak(double seconds) {
  PeakSpeed peak;
  Kernel kernel;
  peak.instructions = "portable";
#if defined(__x86_64__)
  if (processor().avx512) {
    kernel = {avx512_loop, 16 * 2 * kSums};
    peak.instructions = "AVX-512";
  } else if (processor().avx2) {
    kernel = {avx2_loop, 8 * 2 * kSums};
    peak.instructions = "AVX2";
  }
  if (processor().bf16) {
    peak.bf16 = measure({bf16_loop, 32 * 2 * kSums}, seconds);
  }
  if (processor().int8) peak.int8 = measure({int8_loop, 64 * 2 * kSums}, seconds);
#endif
  peak.fp32 = measure(kernel, seconds);
  return peak;
}

}  // namespace attune

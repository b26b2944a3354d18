// The inner loops for AVX2. A weight has 23 bits and a sign, too many for the 16-bit multiply-add that takes two source
// positions at once, so it is split into an upper and a lower part that are summed apart: sum = high * 2^15 + low.
#include "attune/images/resample.h"

#if defined(__x86_64__)
#include <array>
#include <cstring>
#include <immintrin.h>

namespace attune {
namespace {

#define ATTUNE_AVX2 __attribute__((target("avx2")))

constexpr int kRowsAtOnce = 4;
constexpr int kOverread = 16;  // bytes that a load may reach behind the last pixel of four

ATTUNE_AVX2 inline __m256i join(__m256i high, __m256i low) {
  return _mm256_add_epi32(_mm256_slli_epi32(high, 15), low);
}

/// One block of four rows, which share the loads of the weights. A 128-bit lane holds two neighbouring source pixels as
/// pairs of 16 bits (r r, g g, b b, 0 0), so that one multiply-add applies two weights to three channels.
ATTUNE_AVX2 void four_rows(const std::array<const std::uint8_t*, kRowsAtOnce>& in, const Taps& taps,
                           const std::array<std::uint8_t*, kRowsAtOnce>& out) {
  const __m256i pixels = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                          6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m256i pairs = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,  //
                                         4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
  const __m128i half = _mm_set1_epi32(1 << 21);
  const std::size_t width = taps.first.size();
  for (std::size_t x = 0; x < width; ++x) {
    const std::ptrdiff_t offset = std::ptrdiff_t{taps.first[x]} * 3;
    const std::int16_t* low = taps.low.data() + x * static_cast<std::size_t>(taps.stride);
    const std::int16_t* high = taps.high.data() + x * static_cast<std::size_t>(taps.stride);
    __m256i low_sum[kRowsAtOnce], high_sum[kRowsAtOnce];
    for (int r = 0; r < kRowsAtOnce; ++r) low_sum[r] = high_sum[r] = _mm256_setzero_si256();
    for (std::ptrdiff_t j = 0; j < taps.count[x]; j += 4) {
      const __m128i four_low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(low + j));
      const __m128i four_high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(high + j));
      const __m256i weights_low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(four_low), pairs);
      const __m256i weights_high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(four_high), pairs);
      for (int r = 0; r < kRowsAtOnce; ++r) {
        const auto* from = reinterpret_cast<const __m128i*>(in[static_cast<std::size_t>(r)] + offset + j * 3);
        const __m256i four = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(from)), pixels);
        low_sum[r] = _mm256_add_epi32(low_sum[r], _mm256_madd_epi16(four, weights_low));
        high_sum[r] = _mm256_add_epi32(high_sum[r], _mm256_madd_epi16(four, weights_high));
      }
    }
    for (int r = 0; r < kRowsAtOnce; ++r) {
      const __m256i both = join(high_sum[r], low_sum[r]);
      __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
      sum = _mm_srai_epi32(_mm_add_epi32(sum, half), 22);
      sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
      const int rgb = _mm_cvtsi128_si32(sum);
      std::memcpy(out[static_cast<std::size_t>(r)] + 3 * x, &rgb, x + 1 < width ? 4 : 3);
    }
  }
}

ATTUNE_AVX2 void horizontal(const std::uint8_t* in, std::ptrdiff_t in_stride, const std::uint8_t* end, int rows,
                            const Taps& taps, std::uint8_t* out, std::ptrdiff_t out_stride) {
  const std::ptrdiff_t row_bytes = std::ptrdiff_t{taps.first.back() + taps.count.back()} * 3;
  std::vector<std::uint8_t> spare;
  for (int y = 0; y < rows; y += kRowsAtOnce) {
    std::array<const std::uint8_t*, kRowsAtOnce> from{};
    std::array<std::uint8_t*, kRowsAtOnce> to{};
    for (int r = 0; r < kRowsAtOnce; ++r) {
      const int row = y + r < rows ? y + r : rows - 1;  // the last row is repeated to fill a block
      from[static_cast<std::size_t>(r)] = in + row * in_stride;
      to[static_cast<std::size_t>(r)] = out + row * out_stride;
    }
    // Rows near the end of the picture are copied, so that no load leaves its memory.
    for (int r = 0; r < kRowsAtOnce; ++r) {
      auto& row = from[static_cast<std::size_t>(r)];
      if (end - row >= row_bytes + kOverread) continue;
      if (spare.empty()) spare.resize(static_cast<std::size_t>(row_bytes + kOverread) * kRowsAtOnce);
      std::uint8_t* copy = spare.data() + (row_bytes + kOverread) * r;
      std::memcpy(copy, row, static_cast<std::size_t>(row_bytes));
      row = copy;
    }
    four_rows(from, taps, to);
  }
}

/// 32 neighbouring bytes of one output row.
ATTUNE_AVX2 inline void column_block(const std::uint8_t* in, std::ptrdiff_t in_stride, const std::int16_t* low,
                                     const std::int16_t* high, int count, std::uint8_t* out) {
  __m256i low_sum[4], high_sum[4];
  for (int i = 0; i < 4; ++i) low_sum[i] = high_sum[i] = _mm256_setzero_si256();
  for (int j = 0; j < count; j += 2) {
    std::int32_t pair_low = 0, pair_high = 0;
    std::memcpy(&pair_low, low + j, 4);
    std::memcpy(&pair_high, high + j, 4);
    const __m256i weights_low = _mm256_set1_epi32(pair_low), weights_high = _mm256_set1_epi32(pair_high);
    const std::uint8_t* upper = in + j * in_stride;
    const std::uint8_t* lower = j + 1 < count ? upper + in_stride : upper;  // the weight of a missing row is zero
    for (std::ptrdiff_t i = 0; i < 2; ++i) {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(upper + 16 * i));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(lower + 16 * i));
      const __m256i left = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
      const __m256i right = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
      low_sum[2 * i] = _mm256_add_epi32(low_sum[2 * i], _mm256_madd_epi16(left, weights_low));
      high_sum[2 * i] = _mm256_add_epi32(high_sum[2 * i], _mm256_madd_epi16(left, weights_high));
      low_sum[2 * i + 1] = _mm256_add_epi32(low_sum[2 * i + 1], _mm256_madd_epi16(right, weights_low));
      high_sum[2 * i + 1] = _mm256_add_epi32(high_sum[2 * i + 1], _mm256_madd_epi16(right, weights_high));
    }
  }
  const __m256i half = _mm256_set1_epi32(1 << 21);
  __m256i sum[4];
  for (int i = 0; i < 4; ++i) {
    sum[i] = _mm256_srai_epi32(_mm256_add_epi32(join(high_sum[i], low_sum[i]), half), 22);
  }
  const __m256i packed = _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]), _mm256_packs_epi32(sum[2], sum[3]));
  const __m256i ordered = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), ordered);
}

ATTUNE_AVX2 void vertical(const std::uint8_t* in, std::ptrdiff_t in_stride, const Taps& taps, int position, int bytes,
                          std::uint8_t* out) {
  constexpr int kBlock = 32;
  if (bytes < kBlock) return portable_kernels().vertical(in, in_stride, taps, position, bytes, out);
  const auto at = static_cast<std::size_t>(position);
  const std::uint8_t* top = in + taps.first[at] * in_stride;
  const std::int16_t* low = taps.low.data() + at * static_cast<std::size_t>(taps.stride);
  const std::int16_t* high = taps.high.data() + at * static_cast<std::size_t>(taps.stride);
  // The last block overlaps the one before it instead of leaving the row.
  for (int i = 0; i < bytes; i += kBlock) {
    const int from = i + kBlock <= bytes ? i : bytes - kBlock;
    column_block(top + from, in_stride, low, high, taps.count[at], out + from);
  }
}

}  // namespace

ResampleKernels fastest_kernels() {
  static const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;
  return kHasAvx2 ? ResampleKernels{horizontal, vertical} : portable_kernels();
}

}  // namespace attune

#else

namespace attune {

ResampleKernels fastest_kernels() {
  return portable_kernels();
}

}  // namespace attune
#endif

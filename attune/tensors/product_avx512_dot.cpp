#include "attune/tensors/product_avx512.h"

// Only for functions that run where processor().bf16 or processor().int8 holds.
#define ATTUNE_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")))
#define ATTUNE_AVX512_INT8 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512vnni")))

namespace attune {
namespace {

using namespace avx512;  // NOLINT(google-build-using-namespace): this file is one variant of the kernel

// ---------- bf16: pairs

ATTUNE_AVX512_BF16 void pack_rows_bf16(const RowBlock& block, std::uint32_t* packed, float* /*scales*/) {
  pack_tiles(block, 2, packed, [&](std::int64_t row, std::int64_t at, std::int64_t count) ATTUNE_AVX512_BF16 {
    const float* input = block.input + row * block.stride;
    const float* before = block.before == nullptr ? nullptr : block.before + row * block.stride;
    const __m512 low = numbers(input, before, at, count), high = numbers(input, before, at + 16, count - 16);
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
  });
}

/// The nearest bf16, ties to even; the weights are finite.
std::uint32_t bf16_bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

void pack_panel_bf16(const float* panel, std::int64_t inner, std::uint32_t* packed, float* /*scales*/) {
  for (std::int64_t k = 0; k < inner; k += 2) {
    for (std::int64_t c = 0; c < kTileColumns; ++c) {
      const std::uint32_t high = k + 1 < inner ? bf16_bits(panel[(k + 1) * kTileColumns + c]) : 0;
      *packed++ = high << 16 | bf16_bits(panel[k * kTileColumns + c]);
    }
  }
}

template <int kRows>
ATTUNE_AVX512_BF16 void multiply_rows_bf16(const Tile& tile) {
  const Columns columns(tile.columns);
  __m512 x[kRows][2];
  for (int i = 0; i < kRows; ++i) {
    const float* sums = tile.output + i * tile.stride;
    x[i][0] = tile.first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(columns.left, sums);
    x[i][1] = tile.first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(columns.right, sums + 16);
  }
  const std::uint32_t *a = tile.a, *b = tile.b;
  for (std::int64_t k = 0; k < tile.words; ++k) {
    const auto left = (__m512bh)_mm512_load_si512(b), right = (__m512bh)_mm512_load_si512(b + 16);
    for (int i = 0; i < kRows; ++i) {
      const auto value = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[i]));
      x[i][0] = _mm512_dpbf16_ps(x[i][0], value, left);
      x[i][1] = _mm512_dpbf16_ps(x[i][1], value, right);
    }
    a += kTileRows;
    b += kTileColumns;
  }
  for (int i = 0; i < kRows; ++i) {
    float* sums = tile.output + i * tile.stride;
    _mm512_mask_storeu_ps(sums, columns.left, x[i][0]);
    _mm512_mask_storeu_ps(sums + 16, columns.right, x[i][1]);
  }
}

constexpr void (*kMultiplyBf16[])(const Tile&) = {
    multiply_rows_bf16<1>, multiply_rows_bf16<2>,  multiply_rows_bf16<3>,  multiply_rows_bf16<4>,
    multiply_rows_bf16<5>, multiply_rows_bf16<6>,  multiply_rows_bf16<7>,  multiply_rows_bf16<8>,
    multiply_rows_bf16<9>, multiply_rows_bf16<10>, multiply_rows_bf16<11>, multiply_rows_bf16<12>};

void multiply_bf16(const Tile& tile, const ProductEnd& end) {
  fetch_ahead(tile, end);
  kMultiplyBf16[tile.rows - 1](tile);
  if (tile.last) finish(tile, end);
}

// ---------- int8: bytes q of x = scale (q - 128) against signed bytes of the weights

constexpr int kZero = 128;

/// The largest magnitude of a row.
ATTUNE_AVX512 float largest(const float* row, const float* before, std::int64_t count) {
  __m512 most = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < count; k += 16) {
    most = _mm512_max_ps(most, _mm512_abs_ps(numbers(row, before, k, count - k)));
  }
  return _mm512_reduce_max_ps(most);
}

/// Four times 16 numbers as 64 bytes; those that do not exist are zeros.
ATTUNE_AVX512 __m512i bytes_of(const float* row, const float* before, std::int64_t at, std::int64_t count,
                               __m512 factor) {
  __m512i bytes = _mm512_setzero_si512();
  const auto quarter = [&](std::int64_t i) ATTUNE_AVX512 {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(numbers(row, before, at + 16 * i, count - 16 * i), factor));
    return _mm512_cvtepi32_epi8(_mm512_maskz_add_epi32(first_of(count - 16 * i), whole, _mm512_set1_epi32(kZero)));
  };
  bytes = _mm512_inserti32x4(bytes, quarter(0), 0);
  bytes = _mm512_inserti32x4(bytes, quarter(1), 1);
  bytes = _mm512_inserti32x4(bytes, quarter(2), 2);
  return _mm512_inserti32x4(bytes, quarter(3), 3);
}

ATTUNE_AVX512 void pack_rows_int8(const RowBlock& block, std::uint32_t* packed, float* scales) {
  const auto before_of = [&](std::int64_t row) {
    return block.before == nullptr ? nullptr : block.before + row * block.stride;
  };
  for (std::int64_t row = 0; row < block.rows; ++row) {
    scales[row] = largest(block.input + row * block.stride, before_of(row), block.inner) / 127.0F;
  }
  pack_tiles(block, 4, packed, [&](std::int64_t row, std::int64_t at, std::int64_t count) ATTUNE_AVX512 {
    const __m512 factor = _mm512_set1_ps(scales[row] > 0.0F ? 1.0F / scales[row] : 0.0F);
    return bytes_of(block.input + row * block.stride, before_of(row), at, count, factor);
  });
}

void pack_panel_int8(const float* panel, std::int64_t inner, std::uint32_t* packed, float* scales) {
  const std::int64_t words = (inner + 3) / 4;
  std::memset(packed, 0, static_cast<std::size_t>(words * kTileColumns) * sizeof(*packed));
  auto* bytes = reinterpret_cast<std::int8_t*>(packed);
  for (std::int64_t c = 0; c < kTileColumns; ++c) {
    float most = 0.0F, sum = 0.0F;
    for (std::int64_t k = 0; k < inner; ++k) most = std::max(most, std::abs(panel[k * kTileColumns + c]));
    const float scale = most / 127.0F, factor = most > 0.0F ? 127.0F / most : 0.0F;
    for (std::int64_t k = 0; k < inner; ++k) {
      const float whole = std::nearbyint(panel[k * kTileColumns + c] * factor);
      bytes[(k / 4 * kTileColumns + c) * 4 + k % 4] = static_cast<std::int8_t>(whole);
      sum += whole;  // exact: far below 2^24
    }
    scales[c] = scale;
    scales[kTileColumns + c] = -kZero * sum;
  }
}

template <int kRows>
ATTUNE_AVX512_INT8 void multiply_rows_int8(const Tile& tile) {
  const float* scales = tile.b_scales;
  // Sums begin with what the bytes' zero point adds too much.
  const __m512i zeros[2] = {_mm512_cvtps_epi32(_mm512_loadu_ps(scales + kTileColumns)),
                            _mm512_cvtps_epi32(_mm512_loadu_ps(scales + kTileColumns + 16))};
  __m512i x[kRows][2];
  for (int i = 0; i < kRows; ++i) {
    x[i][0] = zeros[0];
    x[i][1] = zeros[1];
  }
  const std::uint32_t *a = tile.a, *b = tile.b;
  for (std::int64_t k = 0; k < tile.words; ++k) {
    const __m512i left = _mm512_load_si512(b), right = _mm512_load_si512(b + 16);
    for (int i = 0; i < kRows; ++i) {
      const __m512i value = _mm512_set1_epi32(static_cast<int>(a[i]));
      x[i][0] = _mm512_dpbusd_epi32(x[i][0], value, left);
      x[i][1] = _mm512_dpbusd_epi32(x[i][1], value, right);
    }
    a += kTileRows;
    b += kTileColumns;
  }
  const Columns columns(tile.columns);
  const __m512 left = _mm512_loadu_ps(scales), right = _mm512_loadu_ps(scales + 16);
  for (int i = 0; i < kRows; ++i) {
    float* sums = tile.output + i * tile.stride;
    const __m512 scale = _mm512_set1_ps(tile.a_scales[i]);
    _mm512_mask_storeu_ps(sums, columns.left, _mm512_mul_ps(_mm512_cvtepi32_ps(x[i][0]), _mm512_mul_ps(scale, left)));
    _mm512_mask_storeu_ps(sums + 16, columns.right,
                          _mm512_mul_ps(_mm512_cvtepi32_ps(x[i][1]), _mm512_mul_ps(scale, right)));
  }
}

constexpr void (*kMultiplyInt8[])(const Tile&) = {
    multiply_rows_int8<1>, multiply_rows_int8<2>,  multiply_rows_int8<3>,  multiply_rows_int8<4>,
    multiply_rows_int8<5>, multiply_rows_int8<6>,  multiply_rows_int8<7>,  multiply_rows_int8<8>,
    multiply_rows_int8<9>, multiply_rows_int8<10>, multiply_rows_int8<11>, multiply_rows_int8<12>};

void multiply_int8(const Tile& tile, const ProductEnd& end) {
  fetch_ahead(tile, end);
  kMultiplyInt8[tile.rows - 1](tile);
  finish(tile, end);
}

}  // namespace

const ProductKernel& bf16_product() {
  static constexpr ProductKernel kKernel{"bf16",         kTileRows,       kTileColumns, 2, 512, 96,
                                         pack_rows_bf16, pack_panel_bf16, multiply_bf16};
  return kKernel;
}

const ProductKernel& int8_product() {
  // The sums of whole rows are scaled at once, so the inner dimension is not divided.
  static constexpr ProductKernel kKernel{"int8",         kTileRows,       kTileColumns, 4, std::int64_t{1} << 40, 96,
                                         pack_rows_int8, pack_panel_int8, multiply_int8};
  return kKernel;
}

}  // namespace attune

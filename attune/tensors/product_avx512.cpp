#include "attune/tensors/product_avx512.h"

namespace attune {
namespace {

using namespace avx512;  // NOLINT(google-build-using-namespace): this file is one variant of the kernel

ATTUNE_AVX512 void pack_rows(const RowBlock& block, std::uint32_t* packed, float* /*scales*/) {
  pack_tiles(block, 1, packed, [&](std::int64_t row, std::int64_t at, std::int64_t count) ATTUNE_AVX512 {
    const float* before = block.before == nullptr ? nullptr : block.before + row * block.stride;
    return _mm512_castps_si512(numbers(block.input + row * block.stride, before, at, count));
  });
}

void pack_panel(const float* panel, std::int64_t inner, std::uint32_t* packed, float* /*scales*/) {
  std::memcpy(packed, panel, static_cast<std::size_t>(inner * kTileColumns) * sizeof(float));
}

template <int kRows>
ATTUNE_AVX512 void multiply_rows(const Tile& tile) {
  const Columns columns(tile.columns);
  __m512 x[kRows][2];
  for (int i = 0; i < kRows; ++i) {
    const float* sums = tile.output + i * tile.stride;
    x[i][0] = tile.first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(columns.left, sums);
    x[i][1] = tile.first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(columns.right, sums + 16);
  }
  const auto* a = reinterpret_cast<const float*>(tile.a);
  const auto* b = reinterpret_cast<const float*>(tile.b);
  for (std::int64_t k = 0; k < tile.words; ++k) {
    const __m512 left = _mm512_load_ps(b), right = _mm512_load_ps(b + 16);
    for (int i = 0; i < kRows; ++i) {
      const __m512 value = _mm512_set1_ps(a[i]);
      x[i][0] = _mm512_fmadd_ps(value, left, x[i][0]);
      x[i][1] = _mm512_fmadd_ps(value, right, x[i][1]);
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

constexpr void (*kMultiply[])(const Tile&) = {
    multiply_rows<1>, multiply_rows<2>, multiply_rows<3>, multiply_rows<4>,  multiply_rows<5>,  multiply_rows<6>,
    multiply_rows<7>, multiply_rows<8>, multiply_rows<9>, multiply_rows<10>, multiply_rows<11>, multiply_rows<12>};

void multiply(const Tile& tile, const ProductEnd& end) {
  fetch_ahead(tile, end);
  kMultiply[tile.rows - 1](tile);
  if (tile.last) finish(tile, end);
}

}  // namespace

const ProductKernel& avx512_product() {
  // 768 words: a width of 768 passes through the registers once, and sums of 3072 four times instead of six.
  static constexpr ProductKernel kKernel{"AVX-512", kTileRows, kTileColumns, 1,       768,
                                         96,        pack_rows, pack_panel,   multiply};
  return kKernel;
}

}  // namespace attune

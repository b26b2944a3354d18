#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attune/tensors/product_kernel.h"
#include "attune/tensors/simd_avx512.h"

namespace attune::avx512 {

// 12 x 32 sums fill 24 of the 32 registers; with 12 rows 96 are eight whole tiles, as with AVX2.
constexpr std::int64_t kTileRows = 12, kTileColumns = 32;

/// Which of a tile's columns exist.
struct Columns {
  explicit Columns(std::int64_t count) : left(first_of(count)), right(first_of(count - 16)) {}
  __mmask16 left, right;
};

/// `count` (at most 16) numbers of a row from `at` on, times QuickGELU's derivative where that is asked for.
ATTUNE_AVX512 inline __m512 numbers(const float* row, const float* before, std::int64_t at, std::int64_t count) {
  const __mmask16 mask = first_of(count);
  const __m512 x = _mm512_maskz_loadu_ps(mask, row + at);
  return before == nullptr ? x : _mm512_mul_ps(x, quick_gelu_slope(_mm512_maskz_loadu_ps(mask, before + at)));
}

/// Words of all rows as tiles of [words][12]. `words_of(row, before, at, count)` makes 16 words of the numbers from
/// `at` on, `count` of which exist.
template <class WordsOf>
ATTUNE_AVX512 inline void pack_tiles(const RowBlock& block, std::int64_t group, std::uint32_t* packed,
                                     const WordsOf& words_of) {
  const std::int64_t words = (block.inner + group - 1) / group;
  for (std::int64_t first = 0; first < block.rows; first += kTileRows) {
    for (std::int64_t k = 0; k < words; k += 16) {
      __m512i tile[16];
      for (std::int64_t i = 0; i < 16; ++i) {
        const std::int64_t row = first + i, at = k * group;
        tile[i] = i < kTileRows && row < block.rows ? words_of(row, at, block.inner - at) : _mm512_setzero_si512();
      }
      transpose(tile);
      // What a store writes beyond its 12 words the next one overwrites.
      for (std::int64_t j = 0; j < std::min<std::int64_t>(16, words - k); ++j) {
        _mm512_storeu_si512(packed + (k + j) * kTileRows, tile[j]);
      }
    }
    packed += words * kTileRows;
  }
}

/// One half of a row of a tile: bias, activation, residual.
ATTUNE_AVX512 inline void finish_half(float* y, __mmask16 mask, const ProductEnd& end, std::int64_t offset,
                                      std::int64_t column) {
  __m512 x = _mm512_maskz_loadu_ps(mask, y);
  if (end.bias != nullptr) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, end.bias + column));
  if (end.before != nullptr) _mm512_mask_storeu_ps(end.before + offset, mask, x);
  if (end.quick_gelu) x = quick_gelu(x);
  if (end.residual != nullptr) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, end.residual + offset));
  _mm512_mask_storeu_ps(y, mask, x);
}

/// Asks for the memory that the end of a tile will read and write, before its sums take a few microseconds.
inline void fetch_ahead(const Tile& tile, const ProductEnd& end) {
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::int64_t row = i * tile.stride, last = tile.columns - 1;
    for (const std::int64_t at : {row, row + last}) {
      __builtin_prefetch(tile.output + at, 1);
      if (end.before != nullptr) __builtin_prefetch(end.before + tile.offset + at, 1);
      if (end.residual != nullptr) __builtin_prefetch(end.residual + tile.offset + at);
    }
  }
}

/// The whole tile, whose sums (of int8: scaled) stand in the output.
ATTUNE_AVX512 inline void finish(const Tile& tile, const ProductEnd& end) {
  if (end.bias == nullptr && end.before == nullptr && end.residual == nullptr && !end.quick_gelu) return;
  const Columns columns(tile.columns);
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::int64_t offset = tile.offset + i * tile.stride;
    float* y = tile.output + i * tile.stride;
    finish_half(y, columns.left, end, offset, tile.column);
    if (columns.right != 0) finish_half(y + 16, columns.right, end, offset + 16, tile.column + 16);
  }
}

}  // namespace attune::avx512

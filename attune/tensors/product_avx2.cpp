#include <algorithm>
#include <cstring>

#include "attune/tensors/product_kernel.h"
#include "attune/tensors/simd_avx2.h"

namespace attune {
namespace {

// 6 x 16 sums fill 12 of the 16 registers; a block of 96 rows x 512 stays in the second-level cache while the panels
// pass by.
constexpr std::int64_t kTileRows = 6, kTileColumns = 16;

/// sums += a [words][6] times b [words][16], or `first`: what it was does not count.
ATTUNE_AVX2 void multiply_tile(const Tile& tile, float* sums, std::int64_t stride) {
  __m256 x[kTileRows][2];
  for (int i = 0; i < kTileRows; ++i) {
    x[i][0] = tile.first ? _mm256_setzero_ps() : _mm256_loadu_ps(sums + i * stride);
    x[i][1] = tile.first ? _mm256_setzero_ps() : _mm256_loadu_ps(sums + i * stride + 8);
  }
  const auto* a = reinterpret_cast<const float*>(tile.a);
  const auto* b = reinterpret_cast<const float*>(tile.b);
  for (std::int64_t k = 0; k < tile.words; ++k) {
    const __m256 left = _mm256_load_ps(b), right = _mm256_load_ps(b + 8);
    for (int i = 0; i < kTileRows; ++i) {
      const __m256 value = _mm256_broadcast_ss(a + i);
      x[i][0] = _mm256_fmadd_ps(value, left, x[i][0]);
      x[i][1] = _mm256_fmadd_ps(value, right, x[i][1]);
    }
    a += kTileRows;
    b += kTileColumns;
  }
  for (int i = 0; i < kTileRows; ++i) {
    _mm256_storeu_ps(sums + i * stride, x[i][0]);
    _mm256_storeu_ps(sums + i * stride + 8, x[i][1]);
  }
}

/// Finishes a whole row of a tile: bias, activation, residual.
ATTUNE_AVX2 void finish_row(float* sums, const ProductEnd& end, std::int64_t offset, std::int64_t column) {
  for (int half = 0; half < 16; half += 8) {
    __m256 y = _mm256_loadu_ps(sums + half);
    if (end.bias != nullptr) y = _mm256_add_ps(y, _mm256_loadu_ps(end.bias + column + half));
    if (end.before != nullptr) _mm256_storeu_ps(end.before + offset + half, y);
    if (end.quick_gelu) y = avx2::quick_gelu(y);
    if (end.residual != nullptr) y = _mm256_add_ps(y, _mm256_loadu_ps(end.residual + offset + half));
    _mm256_storeu_ps(sums + half, y);
  }
}

/// The same where a tile hangs over the edge: through buffers of its own.
void finish_partial_row(float* sums, const ProductEnd& end, std::int64_t offset, std::int64_t column,
                        std::int64_t columns) {
  float bias[16] = {}, before[16], residual[16] = {};
  const auto bytes = static_cast<std::size_t>(columns) * sizeof(float);
  ProductEnd own = end;
  if (end.bias != nullptr) own.bias = static_cast<float*>(std::memcpy(bias, end.bias + column, bytes));
  if (end.residual != nullptr) own.residual = static_cast<float*>(std::memcpy(residual, end.residual + offset, bytes));
  if (end.before != nullptr) own.before = before;
  finish_row(sums, own, 0, 0);
  if (end.before != nullptr) std::memcpy(end.before + offset, before, bytes);
}

void finish_tile(const Tile& tile, float* sums, std::int64_t stride, const ProductEnd& end) {
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::int64_t offset = tile.offset + i * tile.stride;
    if (tile.columns == kTileColumns) {
      finish_row(sums + i * stride, end, offset, tile.column);
    } else {
      finish_partial_row(sums + i * stride, end, offset, tile.column, tile.columns);
    }
  }
}

void multiply(const Tile& tile, const ProductEnd& end) {
  if (tile.rows == kTileRows && tile.columns == kTileColumns) {
    multiply_tile(tile, tile.output, tile.stride);
    if (tile.last) finish_tile(tile, tile.output, tile.stride, end);
    return;
  }
  alignas(32) float sums[kTileRows * kTileColumns] = {};
  const auto bytes = static_cast<std::size_t>(tile.columns) * sizeof(float);
  for (std::int64_t i = 0; i < tile.rows && !tile.first; ++i) {
    std::memcpy(sums + i * kTileColumns, tile.output + i * tile.stride, bytes);
  }
  multiply_tile(tile, sums, kTileColumns);
  if (tile.last) finish_tile(tile, sums, kTileColumns, end);
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    std::memcpy(tile.output + i * tile.stride, sums + i * kTileColumns, bytes);
  }
}

/// Eight numbers of a row, times QuickGELU's derivative where that is asked for.
ATTUNE_AVX2 __m256 numbers(const float* row, const float* before) {
  const __m256 x = _mm256_loadu_ps(row);
  return before == nullptr ? x : _mm256_mul_ps(x, avx2::quick_gelu_slope(_mm256_loadu_ps(before)));
}

/// `rows` of a tile from `count` (at most 8) numbers a row; writes 2 words more than [count][6].
ATTUNE_AVX2 void pack_eight(const float* input, const float* before, std::int64_t stride, std::int64_t rows,
                            std::int64_t count, float* packed) {
  __m256 tile[8];
  for (int i = 0; i < 8; ++i) {
    tile[i] =
        i < rows ? numbers(input + i * stride, before == nullptr ? nullptr : before + i * stride) : _mm256_setzero_ps();
  }
  avx2::transpose(tile);
  for (int j = 0; j < count; ++j) _mm256_storeu_ps(packed + j * kTileRows, tile[j]);
}

void pack_rows(const RowBlock& block, std::uint32_t* words, float* /*scales*/) {
  auto* packed = reinterpret_cast<float*>(words);
  const std::int64_t whole = block.inner / 8 * 8, rest = block.inner - whole;
  for (std::int64_t first = 0; first < block.rows; first += kTileRows) {
    const std::int64_t rows = std::min(kTileRows, block.rows - first), start = first * block.stride;
    const float* input = block.input + start;
    const float* before = block.before == nullptr ? nullptr : block.before + start;
    for (std::int64_t k = 0; k < whole; k += 8) {
      pack_eight(input + k, before == nullptr ? nullptr : before + k, block.stride, rows, 8, packed + k * kTileRows);
    }
    if (rest > 0) {
      float last[kTileRows * 8] = {}, last_before[kTileRows * 8] = {};
      for (std::int64_t i = 0; i < rows; ++i) {
        std::copy_n(input + i * block.stride + whole, rest, last + i * 8);
        if (before != nullptr) std::copy_n(before + i * block.stride + whole, rest, last_before + i * 8);
      }
      pack_eight(last, before == nullptr ? nullptr : last_before, 8, rows, rest, packed + whole * kTileRows);
    }
    packed += block.inner * kTileRows;
  }
}

void pack_panel(const float* panel, std::int64_t inner, std::uint32_t* packed, float* /*scales*/) {
  std::memcpy(packed, panel, static_cast<std::size_t>(inner * kTileColumns) * sizeof(float));
}

}  // namespace

const ProductKernel& avx2_product() {
  static constexpr ProductKernel kKernel{"AVX2", kTileRows, kTileColumns, 1, 512, 96, pack_rows, pack_panel, multiply};
  return kKernel;
}

}  // namespace attune

#include "attune/tensors/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "attune/tensors/parallel.h"
#include "attune/tensors/simd_avx2.h"

namespace attune {
namespace {

// A tile of 6 x 16 sums fills 12 of the 16 registers; a block of 96 rows x 512 stays in the second-level cache while
// the panels pass by.
constexpr std::int64_t kTileRows = 6, kTileColumns = 16, kBlockRows = 96, kBlockInner = 512;

/// Where a tile's sums go.
struct Tile {
  float* output;
  std::int64_t stride;
  std::int64_t rows, columns;  // of the tile that exist
  bool first, last;            // of the blocks along the inner dimension
  std::int64_t row, column;    // of the product
};

/// sums = a [inner][6] times b [inner][16], added to what `sums` [6][16] holds unless `first`.
ATTUNE_AVX2 void multiply_tile(std::int64_t inner, const float* a, const float* b, float* sums, std::int64_t stride,
                               bool first) {
  __m256 x[kTileRows][2];
  for (int i = 0; i < kTileRows; ++i) {
    x[i][0] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(sums + i * stride);
    x[i][1] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(sums + i * stride + 8);
  }
  for (std::int64_t k = 0; k < inner; ++k) {
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

/// Finishes `columns` (8 at a time; the buffers are padded to 16) of one row: bias, activation, residual.
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

void finish_tile(float* sums, std::int64_t stride, const Tile& tile, const ProductEnd& end, std::int64_t out) {
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::int64_t offset = (tile.row + i) * out + tile.column;
    if (tile.columns == kTileColumns) {
      finish_row(sums + i * stride, end, offset, tile.column);
    } else {
      finish_partial_row(sums + i * stride, end, offset, tile.column, tile.columns);
    }
  }
}

void do_tile(std::int64_t inner, const float* a, const float* b, const Tile& tile, const ProductEnd& end,
             std::int64_t out) {
  if (tile.rows == kTileRows && tile.columns == kTileColumns) {
    multiply_tile(inner, a, b, tile.output, tile.stride, tile.first);
    if (tile.last) finish_tile(tile.output, tile.stride, tile, end, out);
    return;
  }
  alignas(32) float sums[kTileRows * kTileColumns] = {};
  const auto bytes = static_cast<std::size_t>(tile.columns) * sizeof(float);
  for (std::int64_t i = 0; i < tile.rows && !tile.first; ++i) {
    std::memcpy(sums + i * kTileColumns, tile.output + i * tile.stride, bytes);
  }
  multiply_tile(inner, a, b, sums, kTileColumns, tile.first);
  if (tile.last) finish_tile(sums, kTileColumns, tile, end, out);
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    std::memcpy(tile.output + i * tile.stride, sums + i * kTileColumns, bytes);
  }
}

/// `columns` of 16 columns of a matrix [rows, stride] one row after the other, zeros for those that are missing.
void copy_columns(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* to) {
  for (std::int64_t k = 0; k < rows; ++k) {
    std::copy_n(from + k * stride, columns, to + k * kTileColumns);
    std::fill_n(to + k * kTileColumns + columns, kTileColumns - columns, 0.0F);
  }
}

/// 8 x 8 numbers with rows and columns exchanged.
ATTUNE_AVX2 void transpose_8x8(const float* from, std::int64_t stride, float* to) {
  __m256 row[8], pair[8], quad[8];
  for (int i = 0; i < 8; ++i) row[i] = _mm256_loadu_ps(from + i * stride);
  for (int i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    quad[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
    quad[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xEE);
    quad[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
    quad[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * kTileColumns, _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * kTileColumns, _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31));
  }
}

/// `rows` of 16 rows of a matrix [16, inner] as [inner, 16], zeros for those that are missing.
void transpose_rows(const float* from, std::int64_t inner, std::int64_t rows, float* to) {
  const std::int64_t whole = rows == kTileColumns ? inner / 8 * 8 : 0;
  for (std::int64_t k = 0; k < whole; k += 8) {
    transpose_8x8(from + k, inner, to + k * kTileColumns);
    transpose_8x8(from + 8 * inner + k, inner, to + k * kTileColumns + 8);
  }
  for (std::int64_t k = whole; k < inner; ++k) {
    for (std::int64_t i = 0; i < kTileColumns; ++i) to[k * kTileColumns + i] = i < rows ? from[i * inner + k] : 0.0F;
  }
}

/// x * QuickGELU's derivative at `before`, `count` numbers.
ATTUNE_AVX2 void apply_slope(const float* input, const float* before, std::int64_t count, float* output) {
  std::int64_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256 slope = avx2::quick_gelu_slope(_mm256_loadu_ps(before + k));
    _mm256_storeu_ps(output + k, _mm256_mul_ps(_mm256_loadu_ps(input + k), slope));
  }
  if (k == count) return;
  float x[8] = {}, h[8] = {};
  std::copy(input + k, input + count, x);
  std::copy(before + k, before + count, h);
  apply_slope(x, h, 8, x);
  std::copy(x, x + (count - k), output + k);
}

/// Rows as the kernel reads them: tiles of [inner][6], zeros below the last row.
void pack_rows(const float* input, std::int64_t stride, std::int64_t rows, std::int64_t inner, const float* before,
               float* packed) {
  float changed[kBlockInner];
  for (std::int64_t first = 0; first < rows; first += kTileRows) {
    for (std::int64_t i = 0; i < kTileRows; ++i) {
      float* column = packed + i;
      if (first + i >= rows) {
        for (std::int64_t k = 0; k < inner; ++k) column[k * kTileRows] = 0.0F;
        continue;
      }
      const float* row = input + (first + i) * stride;
      if (before != nullptr) {
        apply_slope(row, before + (first + i) * stride, inner, changed);
        row = changed;
      }
      for (std::int64_t k = 0; k < inner; ++k) column[k * kTileRows] = row[k];
    }
    packed += inner * kTileRows;
  }
}

struct AlignedBuffer {
  explicit AlignedBuffer(std::size_t floats)
      : data(static_cast<float*>(::operator new(floats * sizeof(float), std::align_val_t(64)))) {}
  ~AlignedBuffer() { ::operator delete(data, std::align_val_t(64)); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  float* data;
};

/// Rows and outputs of a product that one thread computes.
struct Share {
  std::int64_t row, rows, panel, panels;
};

/// How a product is divided: by rows where there are enough, else by panels.
Share share_of(std::int64_t part, std::int64_t parts, std::int64_t rows, std::int64_t panels) {
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  if (tiles >= 4 * parts) {
    const std::int64_t first = tiles * part / parts * kTileRows, past = tiles * (part + 1) / parts * kTileRows;
    return {first, std::min(past, rows) - first, 0, panels};
  }
  const std::int64_t first = panels * part / parts;
  return {0, rows, first, panels * (part + 1) / parts - first};
}

/// Rows of a block where so many are divided evenly: the panels pass by once for each block, however small it is.
std::int64_t block_rows(std::int64_t rows) {
  const std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows, tiles = (rows + kTileRows - 1) / kTileRows;
  return (tiles + blocks - 1) / blocks * kTileRows;
}

}  // namespace

bool PackedMatrix::supported() {
#if defined(__x86_64__)
  static const bool kSupported = [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }();
  return kSupported;
#else
  return false;
#endif
}

PackedMatrix::PackedMatrix(const Tensor& weight, bool transposed)
    : out_(weight.size(transposed ? 1 : 0)), in_(weight.size(transposed ? 0 : 1)) {
  const std::int64_t panels = (out_ + kTileColumns - 1) / kTileColumns;
  panels_ = at::empty({panels, in_, kTileColumns}, at::kFloat);
  const auto* from = weight.const_data_ptr<float>();
  auto* to = panels_.mutable_data_ptr<float>();
  const auto pack_panel = [&](std::int64_t panel) {
    const std::int64_t first = panel * kTileColumns, columns = std::min(kTileColumns, out_ - first);
    float* packed = to + panel * in_ * kTileColumns;
    if (transposed) {
      copy_columns(from + first, out_, in_, columns, packed);
    } else {
      transpose_rows(from + first * in_, in_, columns, packed);
    }
  };
  in_parallel(panels, static_cast<double>(panels_.numel()), pack_panel);
}

void PackedMatrix::multiply(const float* input, std::int64_t rows, float* output, const ProductEnd& end,
                            const float* before) const {
  const auto* weights = panels_.const_data_ptr<float>();
  const std::int64_t panels = panels_.size(0);
  const auto compute = [&](const Share& share) {
    static thread_local const AlignedBuffer kPacked(static_cast<std::size_t>(kBlockRows * kBlockInner));
    const std::int64_t step = block_rows(share.rows);
    for (std::int64_t row = share.row; row < share.row + share.rows; row += step) {
      const std::int64_t block = std::min(step, share.row + share.rows - row);
      for (std::int64_t k = 0; k < in_; k += kBlockInner) {
        const std::int64_t inner = std::min(kBlockInner, in_ - k);
        const std::int64_t offset = row * in_ + k;
        pack_rows(input + offset, in_, block, inner, before == nullptr ? nullptr : before + offset, kPacked.data);
        for (std::int64_t panel = share.panel; panel < share.panel + share.panels; ++panel) {
          const float* b = weights + (panel * in_ + k) * kTileColumns;
          const std::int64_t column = panel * kTileColumns, columns = std::min(kTileColumns, out_ - column);
          for (std::int64_t i = 0; i < block; i += kTileRows) {
            do_tile(inner, kPacked.data + i * inner, b,
                    {output + (row + i) * out_ + column, out_, std::min(kTileRows, block - i), columns, k == 0,
                     k + inner == in_, row + i, column},
                    end, out_);
          }
        }
      }
    }
  };
  const double operations = 2.0 * static_cast<double>(rows * out_ * in_);
  const std::int64_t parts = std::min(parallel_width(operations), panels);
  in_parallel(parts, [&](std::int64_t part) { compute(share_of(part, parts, rows, panels)); });
}

}  // namespace attune

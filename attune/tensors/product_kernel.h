#pragma once

#include <cstdint>

namespace attune {

/// What happens to y = x W^T on its way to memory: y + bias, then the activation, then + residual. Null pointers mean
/// "nothing".
struct ProductEnd {
  const float* bias = nullptr;  // [out]
  float* before = nullptr;      // [rows, out]: y + bias is kept here
  bool quick_gelu = false;
  const float* residual = nullptr;  // [rows, out]
};

/// In which type a product multiplies; sums are fp32 (of int8: int32, scaled a row and an output).
enum class ProductType { kFloat, kBFloat16, kInt8 };

/// Some rows of an input and some of its columns, to be packed.
struct RowBlock {
  const float* input = nullptr;   // the first number
  const float* before = nullptr;  // where defined, numbers are multiplied with QuickGELU's derivative there
  std::int64_t stride = 0;        // numbers from row to row, of both
  std::int64_t rows = 0, inner = 0;
};

/// One tile of a product: [rows, inner] packed times a panel.
struct Tile {
  std::int64_t words = 0;            // along the inner dimension
  const std::uint32_t* a = nullptr;  // packed rows [words][tile rows]
  const std::uint32_t* b = nullptr;  // a panel [words][tile columns]
  const float* a_scales = nullptr;   // [tile rows], int8
  const float* b_scales = nullptr;   // [2][tile columns], int8: scales, and what a sum begins with
  float* output = nullptr;           // [rows, stride]
  std::int64_t stride = 0;
  std::int64_t rows = 0, columns = 0;   // that exist
  bool first = true, last = true;       // of the blocks along the inner dimension
  std::int64_t offset = 0, column = 0;  // of the tile's first number in [rows, out], and among the outputs
};

/// How tiles of a product are computed on one kind of processor. Packed numbers lie in words of 32 bits: one fp32, two
/// bf16 or four int8 that are neighbours along the inner dimension. A row of a tile depends on that row alone.
struct ProductKernel {
  const char* name;
  std::int64_t tile_rows, tile_columns;
  std::int64_t group;        // numbers of a word
  std::int64_t block_words;  // along the inner dimension at once
  std::int64_t block_rows;   // rows that are packed at once
  /// Tiles of [words][tile_rows], zeros where rows or numbers are missing; writes up to 16 words more. int8 leaves the
  /// rows' scales in `scales`.
  void (*pack_rows)(const RowBlock& block, std::uint32_t* packed, float* scales);
  /// One panel from numbers [inner, tile_columns]; int8 leaves [2][tile_columns] in `scales`.
  void (*pack_panel)(const float* panel, std::int64_t inner, std::uint32_t* packed, float* scales);
  /// Adds to the output unless `first`, and finishes it (`end`) where `last`.
  void (*multiply)(const Tile& tile, const ProductEnd& end);
};

// The kernels by themselves, whether this processor has their instructions or not; processor.h chooses.
const ProductKernel& avx2_product();
const ProductKernel& avx512_product();
const ProductKernel& bf16_product();
const ProductKernel& int8_product();

}  // namespace attune

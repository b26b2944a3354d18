#include "attune/tensors/packed_matrix.h"

#include <algorithm>
#include <vector>

#include "attune/tensors/parallel.h"

namespace attune {
namespace {

/// `columns` columns of a matrix [rows, stride] one row after the other, zeros for those that are missing.
void copy_columns(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t columns,
                  std::int64_t tile_columns, float* to) {
  for (std::int64_t k = 0; k < rows; ++k) {
    std::copy_n(from + k * stride, columns, to + k * tile_columns);
    std::fill_n(to + k * tile_columns + columns, tile_columns - columns, 0.0F);
  }
}

/// `rows` rows of a matrix [rows, inner] as [inner, tile columns], zeros for those that are missing.
void transpose_rows(const float* from, std::int64_t inner, std::int64_t rows, std::int64_t tile_columns, float* to) {
  constexpr std::int64_t kLine = 16;  // numbers of a cache line, so that each is fetched once
  if (rows < tile_columns) std::fill_n(to, inner * tile_columns, 0.0F);
  for (std::int64_t k = 0; k < inner; k += kLine) {
    const std::int64_t past = std::min(inner, k + kLine);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = k; j < past; ++j) to[j * tile_columns + i] = from[i * inner + j];
    }
  }
}

/// Memory that a thread keeps for packed rows.
struct Buffer {
  std::vector<std::uint32_t> words;
  std::vector<float> scales;

  void need(std::size_t count, std::size_t rows) {
    if (words.size() < count) words.resize(count);
    if (scales.size() < rows) scales.resize(rows);
  }
};

}  // namespace

struct PackedMatrix::Call {
  const float* input;
  float* output;
  const ProductEnd& end;
  const float* before;
};

/// Rows and outputs of a product that one thread computes.
struct PackedMatrix::Share {
  std::int64_t row, rows, panel, panels;
};

PackedMatrix::PackedMatrix(const ProductKernel& kernel, const Tensor& weight, bool transposed)
    : kernel_(&kernel),
      out_(weight.size(transposed ? 1 : 0)),
      in_(weight.size(transposed ? 0 : 1)),
      words_((in_ + kernel.group - 1) / kernel.group) {
  const std::int64_t columns = kernel.tile_columns, panels = (out_ + columns - 1) / columns;
  panels_ = at::empty({panels, words_, columns}, at::kInt);
  scales_ = at::empty({panels, 2, columns}, at::kFloat);
  const auto* from = weight.const_data_ptr<float>();
  auto* to = reinterpret_cast<std::uint32_t*>(panels_.mutable_data_ptr<std::int32_t>());
  auto* scales = scales_.mutable_data_ptr<float>();
  in_parallel(panels, static_cast<double>(out_ * in_), [&](std::int64_t panel) {
    const std::int64_t first = panel * columns, existing = std::min(columns, out_ - first);
    std::vector<float> dense(static_cast<std::size_t>(in_ * columns));
    if (transposed) {
      copy_columns(from + first, out_, in_, existing, columns, dense.data());
    } else {
      transpose_rows(from + first * in_, in_, existing, columns, dense.data());
    }
    kernel.pack_panel(dense.data(), in_, to + panel * words_ * columns, scales + panel * 2 * columns);
  });
}

/// How a product is divided: by rows where there are many, else by panels, so that threads share the reading of the
/// weights and no thread has a tile more; every thread then packs all rows.
PackedMatrix::Share PackedMatrix::share_of(std::int64_t part, std::int64_t parts, std::int64_t rows) const {
  const std::int64_t tile = kernel_->tile_rows, tiles = (rows + tile - 1) / tile, panels = panels_.size(0);
  if (tiles >= 16 * parts) {
    const std::int64_t first = tiles * part / parts * tile, past = tiles * (part + 1) / parts * tile;
    return {first, std::min(past, rows) - first, 0, panels};
  }
  const std::int64_t first = panels * part / parts;
  return {0, rows, first, panels * (part + 1) / parts - first};
}

/// Rows of a block where so many are divided evenly: the panels pass by once for each block, however small it is.
std::int64_t PackedMatrix::block_rows(std::int64_t rows) const {
  const std::int64_t most = kernel_->block_rows, tile = kernel_->tile_rows;
  const std::int64_t blocks = (rows + most - 1) / most, tiles = (rows + tile - 1) / tile;
  return (tiles + blocks - 1) / blocks * tile;
}

void PackedMatrix::multiply_share(const Call& call, const Share& share) const {
  constexpr std::int64_t kBeyond = 16;  // words that packing may write too many
  const std::int64_t tile_rows = kernel_->tile_rows, tile_columns = kernel_->tile_columns, group = kernel_->group;
  const std::int64_t step = block_rows(share.rows), most_words = std::min(kernel_->block_words, words_);
  static thread_local Buffer buffer;
  buffer.need(static_cast<std::size_t>(step * most_words + kBeyond), static_cast<std::size_t>(step));
  const auto* weights = reinterpret_cast<const std::uint32_t*>(panels_.const_data_ptr<std::int32_t>());
  const auto* scales = scales_.const_data_ptr<float>();
  for (std::int64_t row = share.row; row < share.row + share.rows; row += step) {
    const std::int64_t block = std::min(step, share.row + share.rows - row);
    for (std::int64_t word = 0; word < words_; word += most_words) {
      Tile tile;
      tile.words = std::min(most_words, words_ - word);
      tile.stride = out_;
      tile.first = word == 0;
      tile.last = word + tile.words == words_;
      const std::int64_t k = word * group, offset = row * in_ + k;
      kernel_->pack_rows({call.input + offset, call.before == nullptr ? nullptr : call.before + offset, in_, block,
                          std::min(tile.words * group, in_ - k)},
                         buffer.words.data(), buffer.scales.data());
      for (std::int64_t panel = share.panel; panel < share.panel + share.panels; ++panel) {
        tile.b = weights + (panel * words_ + word) * tile_columns;
        tile.b_scales = scales + panel * 2 * tile_columns;
        tile.column = panel * tile_columns;
        tile.columns = std::min(tile_columns, out_ - tile.column);
        for (std::int64_t i = 0; i < block; i += tile_rows) {
          tile.a = buffer.words.data() + i * tile.words;
          tile.a_scales = buffer.scales.data() + i;
          tile.rows = std::min(tile_rows, block - i);
          tile.offset = (row + i) * out_ + tile.column;
          tile.output = call.output + tile.offset;
          kernel_->multiply(tile, call.end);
        }
      }
    }
  }
}

void PackedMatrix::multiply(const float* input, std::int64_t rows, float* output, const ProductEnd& end,
                            const float* before) const {
  const Call call{input, output, end, before};
  const double operations = 2.0 * static_cast<double>(rows * out_ * in_);
  const std::int64_t parts = std::min(parallel_width(operations), panels_.size(0));
  in_parallel(parts, [&](std::int64_t part) { multiply_share(call, share_of(part, parts, rows)); });
}

}  // namespace attune

#include "attune/domains/sam.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/vit.h"

namespace attune {
namespace {

/// Scores that are held at once, floats: attention over a whole map of 64 x 64 cells takes query rows in turns.
constexpr std::int64_t kScoresAtOnce = 16 << 20;
constexpr const char* kPrefix = "vision_encoder.";
constexpr double kNeckEpsilon = 1e-6;

struct SamBlock {
  Block<FrozenLinear> block;
  std::int64_t side = 0;        // of the squares that attend within themselves, cells
  bool windows = false;         // false: the whole map is the square
  Tensor vertical, horizontal;  // [side, side, head width] by query and key; undefined: no relative positions
};

struct SamWeights {
  FrozenLinear patch;
  Tensor positions;  // [1, side, side, width] or undefined
  std::vector<SamBlock> blocks;
  FrozenLinear neck;   // 1 x 1 convolution
  Tensor convolution;  // [channels, channels, 3, 3]
  LayerNorm norm1, norm2;
};

/// table [2 side - 1, D] -> [side, side, D]: the row of every pair of query and key.
Tensor by_distance(const Tensor& table, std::int64_t side) {
  const Tensor at_place = at::arange(side, at::kLong);
  const Tensor distance = at_place.unsqueeze(1) - at_place.unsqueeze(0) + (side - 1);
  return table.index_select(0, distance.reshape({-1})).reshape({side, side, table.size(1)});
}

/// q, k, v [N, H, side * side, D] -> [N, side * side, H * D]. The score of a query and a key has q . vertical (of their
/// rows) and q . horizontal (of their columns) added, with q not scaled.
Tensor attend_square(const SamBlock& own, const Tensor& q, const Tensor& k, const Tensor& v) {
  if (!own.vertical.defined()) return attend(q, k, v);
  const auto count = q.size(0), heads = q.size(1), side = own.side, cells = side * side;
  const auto rows_at_once = std::max<std::int64_t>(1, kScoresAtOnce / (count * heads * side * cells));
  std::vector<Tensor> mixed;
  for (std::int64_t row = 0; row < side; row += rows_at_once) {
    const auto rows = std::min(rows_at_once, side - row);
    const Tensor queries = q.narrow(2, row * side, rows * side);
    const Tensor grid = queries.reshape({count, heads, rows, side, -1});
    const Tensor vertical = at::einsum("nhrcd,rkd->nhrck", {grid, own.vertical.narrow(0, row, rows)});
    const Tensor horizontal = at::einsum("nhrcd,ckd->nhrck", {grid, own.horizontal});
    const Tensor added = (vertical.unsqueeze(5) + horizontal.unsqueeze(4)).reshape({count, heads, rows * side, cells});
    mixed.push_back(attend(queries, k, v, added));
  }
  return at::cat(mixed, 1);
}

/// [B, side, side, width] -> [B * windows, window * window, width], padded with zeros to whole windows.
Tensor into_windows(const Tensor& map, std::int64_t window) {
  const auto side = map.size(1), padding = (window - side % window) % window, per_side = (side + padding) / window;
  return at::constant_pad_nd(map, {0, 0, 0, padding, 0, padding})
      .reshape({map.size(0), per_side, window, per_side, window, -1})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, window * window, map.size(3)});
}

/// The other way, with the padding cut off.
Tensor from_windows(const Tensor& windows, std::int64_t window, std::int64_t side) {
  const auto per_side = (side + window - 1) / window, width = windows.size(2);
  return windows.reshape({-1, per_side, per_side, window, window, width})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, per_side * window, per_side * window, width})
      .narrow(1, 0, side)
      .narrow(2, 0, side);
}

Tensor sam_block(const SamBlock& own, std::int64_t heads, Activation activation, const Tensor& map) {
  const auto batch = map.size(0), side = map.size(1), width = map.size(3);
  const Tensor normal = own.block.norm1(map);
  const Tensor squares = own.windows ? into_windows(normal, own.side) : normal.reshape({batch, side * side, width});
  const auto parts = own.block.qkv(squares)
                         .reshape({squares.size(0), squares.size(1), 3, heads, width / heads})
                         .permute({2, 0, 3, 1, 4})
                         .unbind();
  Tensor mixed = attend_square(own, parts[0], parts[1], parts[2]);
  if (own.windows) mixed = from_windows(mixed, own.side, side);
  const Tensor rows = map.reshape({-1, width});
  return finish_block(own.block, activation, rows, mixed.reshape({-1, width}), {}).reshape(map.sizes());
}

class Sam : public DomainEncoder {
 public:
  Sam(const DomainDescription& description, SamWeights weights, at::Device device, const std::string& key)
      : DomainEncoder(description.preprocess, device, key), config_(description.config), weights_(std::move(weights)) {}

  std::int64_t width() const override { return config_.channels; }

 private:
  Tensor encode_part(const Tensor& pixels) const override {
    const auto side = config_.image_size / config_.patch;
    Tensor map = weights_.patch(patches_of(pixels, config_.patch)).reshape({pixels.size(0), side, side, -1});
    if (weights_.positions.defined()) map = map + weights_.positions;
    for (const SamBlock& block : weights_.blocks) {
      map = sam_block(block, config_.blocks.heads, config_.blocks.activation, map);
    }
    map = weights_.norm1(weights_.neck(map));
    map = at::conv2d(map.permute({0, 3, 1, 2}), weights_.convolution, {}, 1, 1);
    return weights_.norm2(map.permute({0, 2, 3, 1})).mean(at::IntArrayRef{1, 2});
  }
  std::int64_t pictures_at_once() const override { return 1; }

  DomainConfig config_;
  SamWeights weights_;
};

SamWeights read_weights(const DomainConfig& config, const NamedTensors& source, const DomainOptions& options) {
  const auto width = config.blocks.width, side = config.image_size / config.patch, channels = config.channels;
  const std::string prefix = kPrefix;
  const auto take = [&](const std::string& name, at::IntArrayRef shape) {
    return source.take(prefix + name, shape).to(options.device);
  };
  const auto norm = [&](const std::string& name) {
    return LayerNorm{take(name + ".weight", {channels}), take(name + ".bias", {channels}), kNeckEpsilon};
  };
  SamWeights weights;
  weights.patch = FrozenLinear(
      patch_matrix(source, prefix + "patch_embed.projection.weight", width, config.patch).to(options.device),
      take("patch_embed.projection.bias", {width}), options.products);
  if (config.absolute_positions) weights.positions = take("pos_embed", {1, side, side, width});
  auto blocks = frozen_blocks(config.blocks, "",
                              block_tensors(source, prefix + "layers.", kSamNames, config.blocks, config.qkv_bias),
                              options.device, options.products);
  for (std::size_t i = 0; i < blocks.blocks.size(); ++i) {
    SamBlock own{std::move(blocks.blocks[i]), side, false, {}, {}};
    const auto& whole = config.global_blocks;
    if (std::find(whole.begin(), whole.end(), static_cast<std::int64_t>(i)) == whole.end()) {
      own.side = config.window;
      own.windows = true;
    }
    if (config.relative_positions) {
      const std::string name = fmt::format("layers.{}.attn.rel_pos_", i);
      const std::array<std::int64_t, 2> shape = {2 * own.side - 1, width / config.blocks.heads};
      own.vertical = by_distance(take(name + "h", shape), own.side);
      own.horizontal = by_distance(take(name + "w", shape), own.side);
    }
    weights.blocks.push_back(std::move(own));
  }
  weights.neck =
      FrozenLinear(take("neck.conv1.weight", {channels, width, 1, 1}).reshape({channels, width}), {}, options.products);
  weights.convolution = take("neck.conv2.weight", {channels, channels, 3, 3});
  weights.norm1 = norm("neck.layer_norm1");
  weights.norm2 = norm("neck.layer_norm2");
  return weights;
}

}  // namespace

std::shared_ptr<const DomainEncoder> make_sam(const DomainDescription& description, const NamedTensors& source,
                                              const DomainOptions& options, const std::string& key) {
  if (options.tap != DomainTap::kEncoder) {
    throw UsageError(fmt::format("{}: expected the tap encoder, the only one of a sam", source.origin));
  }
  return std::make_shared<Sam>(description, read_weights(description.config, source, options), options.device, key);
}

}  // namespace attune

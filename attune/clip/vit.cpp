#include "attune/clip/vit.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/clip/value_cells.h"
#include "attune/clip/vit_parts.h"
#include "attune/tensors/parallel.h"

namespace attune {
namespace {

/// Where the tokens of a tuning stand in the sequence, once there are some.
struct Inserted {
  Place place = Place::kAtEnd;
  std::int64_t count = 0;
};

void check_tokens(const BlockTuning& tuning, const Inserted& inserted, std::int64_t batch, std::size_t block) {
  const auto where = fmt::format("image tower: tuning of block {}", block);
  if (tuning.place == Place::kOverwriteAfterStart) {
    throw Error(where + ": tokens stand after the class token or at the end, no other place is possible");
  }
  if (tuning.tokens.size(0) != 1 && tuning.tokens.size(0) != batch) {
    throw Error(fmt::format("{}: expected tokens for 1 or {} images, found {}", where, batch, tuning.tokens.size(0)));
  }
  if (inserted.count > 0 && (tuning.tokens.size(1) != inserted.count || tuning.place != inserted.place)) {
    throw Error(fmt::format("{}: expected {} tokens at the place of those before, found {}", where, inserted.count,
                            tuning.tokens.size(1)));
  }
}

/// The sequence [B, T, width] with the tuning's tokens at their place, instead of those that stand there already.
Tensor insert(const Tensor& sequence, const BlockTuning& tuning, Inserted& inserted, std::size_t block) {
  if (!tuning.tokens.defined() || tuning.tokens.size(1) == 0) return sequence;
  check_tokens(tuning, inserted, sequence.size(0), block);
  const Tensor tokens =
      tuning.tokens.to(sequence.options()).expand({sequence.size(0), tuning.tokens.size(1), sequence.size(2)});
  const auto own = sequence.size(1) - inserted.count;
  const auto old = inserted.count;
  inserted = {tuning.place, tokens.size(1)};
  if (tuning.place == Place::kAtEnd) return at::cat({sequence.narrow(1, 0, own), tokens}, 1);
  return at::cat({sequence.narrow(1, 0, 1), tokens, sequence.narrow(1, 1 + old, own - 1)}, 1);
}

/// Queries, keys and values [B, heads, T, width / heads] of fused [B * T, 3 width].
std::vector<Tensor> by_head(const Tensor& fused, std::int64_t batch, std::int64_t heads) {
  const auto width = fused.size(1) / 3;
  return fused.view({batch, -1, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind();
}

/// Attention of a sequence of T rows a picture: fused [B * T, 3 width] -> [B * queries, width], for the first `queries`
/// rows.
Tensor attend_rows(const Tensor& fused, std::int64_t batch, std::int64_t heads, std::int64_t queries) {
  const auto parts = by_head(fused, batch, heads);
  return attend(parts[0].narrow(2, 0, queries), parts[1], parts[2]).reshape({batch * queries, fused.size(1) / 3});
}

template <class L>
Tensor first_sequence(const VisionConfig& config, const VitWeights<L>& weights, const Tensor& pixels) {
  const Tensor patches = weights.patch(patches_of(pixels, config.patch));
  const Tensor first = weights.class_token.expand({pixels.size(0), 1, config.width});
  return at::cat({first, patches}, 1) + weights.positions;
}

}  // namespace

Tensor patches_of(const Tensor& pixels, std::int64_t patch) {
  const auto side = pixels.size(2) / patch;
  return pixels.narrow(2, 0, side * patch)
      .narrow(3, 0, side * patch)
      .reshape({pixels.size(0), 3, side, patch, side, patch})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({pixels.size(0), side * side, 3 * patch * patch});
}

void check_pixels(const VisionConfig& config, const Tensor& pixels) {
  const auto size = config.image_size;
  if (!pixels.defined() || pixels.dim() != 4 || pixels.size(1) != 3 || pixels.size(2) != size ||
      pixels.size(3) != size) {
    throw Error(fmt::format("image tower: expected pixels [B, 3, {0}, {0}], found [{1}]", size,
                            pixels.defined() ? fmt::format("{}", fmt::join(pixels.sizes(), ", ")) : ""));
  }
}

template <class L>
Tensor full_block(const Block<L>& block, std::int64_t heads, Activation activation, const Tensor& sequence,
                  std::int64_t kept, const BlockTuning& tuning, const Tensor& names) {
  const auto batch = sequence.size(0), width = sequence.size(2);
  const auto names_of = [&](std::int64_t rows) {
    return names.defined() ? names.narrow(1, 0, rows).reshape({-1}) : Tensor();
  };
  const Tensor fused = fused_qkv(block, sequence.reshape({-1, width}), tuning, names_of(sequence.size(1)));
  const Tensor mixed = attend_rows(fused, batch, heads, kept);
  const Tensor finished = sequence.narrow(1, 0, kept).reshape({-1, width});
  return finish_block(block, activation, finished, mixed, tuning, names_of(kept)).view({batch, kept, width});
}

template Tensor full_block(const Block<Linear>&, std::int64_t, Activation, const Tensor&, std::int64_t,
                           const BlockTuning&, const Tensor&);
template Tensor full_block(const Block<FrozenLinear>&, std::int64_t, Activation, const Tensor&, std::int64_t,
                           const BlockTuning&, const Tensor&);

namespace {

/// Names of the rows of sequences [B, T]: of picture and place.
Tensor row_names(std::int64_t first, std::int64_t batch, std::int64_t length) {
  constexpr std::int64_t kMostRows = std::int64_t{1} << 32;
  return (at::arange(first, first + batch, at::kLong) * kMostRows).unsqueeze(1) + at::arange(length, at::kLong);
}

}  // namespace

template <class L>
ImageFeatures encode_vit(const VisionConfig& config, const VitWeights<L>& weights, const Tensor& pixels,
                         const Tuning& tuning, bool local, std::int64_t first) {
  const auto& [blocks, heads, activation] = weights.transformer;
  check_pixels(config, pixels);
  check_tuning(tuning, blocks.size(), config.width, "image tower");
  Inserted inserted;
  Tensor sequence = insert(first_sequence(config, weights, pixels), tuning_of(tuning, 0), inserted, 0);
  sequence = weights.before(sequence);
  const bool dropping = drops(tuning);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto& own = tuning_of(tuning, i);
    if (i > 0) sequence = insert(sequence, own, inserted, i);
    const auto kept = i + 1 == blocks.size() && !local ? 1 : sequence.size(1);
    const Tensor names = dropping ? row_names(first, sequence.size(0), sequence.size(1)) : Tensor();
    sequence = full_block(blocks[i], heads, activation, sequence, kept, own, names);
  }
  ImageFeatures features;
  features.global = weights.projection(weights.after(sequence.select(1, 0)));
  if (local) {
    const auto first = inserted.place == Place::kAfterClass ? 1 + inserted.count : 1;
    const auto cells = weights.positions.size(0) - 1;
    features.local = weights.projection(weights.after(sequence.narrow(1, first, cells)));
  }
  return features;
}

template ImageFeatures encode_vit(const VisionConfig&, const VitWeights<Linear>&, const Tensor&, const Tuning&, bool,
                                  std::int64_t);
template ImageFeatures encode_vit(const VisionConfig&, const VitWeights<FrozenLinear>&, const Tensor&, const Tuning&,
                                  bool, std::int64_t);

namespace {

/// Pictures that one thread takes at once: their rows fill the matrices, and what is between the layers stays in the
/// cache.
constexpr std::int64_t kPicturesAtOnce = 4;

bool any_wants_gradients(Tensor pixels, Tuning tuning) {
  std::vector<Tensor*> tensors = tensors_of(tuning);
  tensors.push_back(&pixels);
  return wants_gradients(tensors);
}

/// Graphs that are kept for the backward, of pictures together; about what four pictures of ViT-B/16 need.
constexpr std::int64_t kPictureGraphBytes = std::int64_t{256} << 20;
/// And about as much of a part, unless one picture needs more.
constexpr std::int64_t kPartGraphBytes = std::int64_t{96} << 20;

/// Are the tuning's tokens those of all pictures or of each?
bool divides(const Tuning& tuning, std::int64_t batch) {
  return std::all_of(tuning.blocks.begin(), tuning.blocks.end(), [&](const BlockTuning& block) {
    return !block.tokens.defined() || block.tokens.dim() != 3 || block.tokens.size(0) == 1 ||
           block.tokens.size(0) == batch;
  });
}

class FrozenVit : public ImageTower {
 public:
  FrozenVit(const VisionConfig& config, VitWeights<FrozenLinear> weights)
      : config_(config), weights_(std::move(weights)) {}
  const VisionConfig& config() const override { return config_; }
  std::int64_t rows() const override { return weights_.positions.size(0); }

  /// The features of cells that attend to values by values.
  Tensor value_cells(const Tensor& pixels) const {
    const at::NoGradGuard no_gradients;
    check_pixels(config_, pixels);
    const auto& [blocks, heads, activation] = weights_.transformer;
    const std::int64_t batch = pixels.size(0), width = config_.width;
    Tensor rows = weights_.before(first_sequence(config_, weights_, pixels));
    for (std::size_t i = 0; i + 1 < blocks.size(); ++i)
      rows = full_block(blocks[i], heads, activation, rows, rows.size(1));
    const Tensor values = by_head(fused_qkv(blocks.back(), rows.reshape({-1, width}), {}), batch, heads)[2];
    const std::int64_t cells = rows.size(1) - 1;
    const Tensor mixed = attend(values.narrow(2, 1, cells), values, values).reshape({batch * cells, width});
    const Tensor own = rows.narrow(1, 1, cells).reshape({-1, width});
    return weights_.projection(weights_.after(finish_block(blocks.back(), activation, own, mixed, {})))
        .view({batch, cells, -1});
  }

  ImageFeatures encode(const Tensor& pixels, const Tuning& tuning, bool local) const override {
    check_pixels(config_, pixels);
    const std::int64_t batch = pixels.size(0);
    const bool gradients = any_wants_gradients(pixels, tuning);
    const double operations = tower_operations(config_, batch * rows());
    const std::int64_t threads = parallel_width(operations);
    const GraphLimits graphs = vit_graph_limits(config_, rows(), tuning);
    const std::int64_t at_once = gradients ? graphs.part_rows / rows() : kPicturesAtOnce;
    // As many parts for every thread.
    const std::int64_t rounds = std::max<std::int64_t>(1, batch / at_once / threads);
    const std::int64_t parts = std::min(batch, rounds * threads);
    const bool one = parts < 2 || !pixels.is_cpu() || !divides(tuning, batch);
    if (one) return encode_vit(config_, weights_, pixels, tuning, local);
    return encode_vit_in_parts(config_, weights_, pixels, tuning, local, {parts, graphs.kept_rows / rows()});
  }

 private:
  VisionConfig config_;
  VitWeights<FrozenLinear> weights_;
};

}  // namespace

Tensor value_cells(const ImageTower& tower, const Tensor& pixels) {
  const auto* vit = dynamic_cast<const FrozenVit*>(&tower);
  if (vit == nullptr) throw UsageError("attention by values: expected a vision transformer, found a ResNet");
  return vit->value_cells(pixels);
}

GraphLimits vit_graph_limits(const VisionConfig& config, std::int64_t rows, const Tuning& tuning) {
  const std::int64_t bytes = graph_bytes_of_row(config, tuning), picture = rows * bytes;
  return {bytes, kPictureGraphBytes / picture * rows, std::max<std::int64_t>(1, kPartGraphBytes / picture) * rows};
}

std::shared_ptr<const ImageTower> make_vit(const VisionConfig& config, VitWeights<FrozenLinear> weights) {
  return std::make_shared<FrozenVit>(config, std::move(weights));
}

}  // namespace attune

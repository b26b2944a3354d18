#include "attune/domains/domain_vit.h"

#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/vit.h"

namespace attune {
namespace {

using Kind = DomainConfig::Kind;

struct DomainVitWeights {
  FrozenLinear patch;
  Tensor class_row;  // [1, 1, width], with its position
  Tensor positions;  // [cells, width]
  Transformer<FrozenLinear> transformer;
  LayerNorm after;
  FrozenLinear tap;  // undefined: none
};

/// "vit." or "dinov2." where a model with a head is stored, else nothing.
std::string prefix_of(const NamedTensors& source, Kind kind) {
  const std::string prefix = kind == Kind::kDinov2 ? "dinov2." : "vit.";
  const auto next = source.tensors.lower_bound(prefix);
  return next != source.tensors.end() && next->first.starts_with(prefix) ? prefix : "";
}

FrozenLinear make_tap(const DomainConfig& config, const NamedTensors& source, const DomainOptions& options) {
  const auto width = config.blocks.width;
  const auto layer = [&](const std::string& name, std::int64_t out) {
    return FrozenLinear(source.take(name + ".weight", {out, width}).to(options.device),
                        source.take(name + ".bias", {out}).to(options.device), options.products);
  };
  if (options.tap == DomainTap::kDecoder) {
    if (config.kind != Kind::kVitMae) {
      throw UsageError(fmt::format("{}: expected a vit_mae for the tap decoder, found {}", source.origin, config.type));
    }
    return layer("decoder.decoder_embed", config.decoder_width);
  }
  if (options.tap == DomainTap::kClassifier) {
    const auto found = source.tensors.find("classifier.weight");
    if (config.kind != Kind::kVit || found == source.tensors.end() || found->second.dim() != 2) {
      throw UsageError(
          fmt::format("{}: expected a vit with a matrix 'classifier.weight' for the tap classifier, "
                      "found none",
                      source.origin));
    }
    return layer("classifier", found->second.size(0));
  }
  return {};
}

DomainVitWeights read_weights(const DomainDescription& description, const NamedTensors& source,
                              const DomainOptions& options) {
  const DomainConfig& config = description.config;
  const auto width = config.blocks.width, grid = config.image_size / config.patch;
  const std::string prefix = prefix_of(source, config.kind),
                    patches = prefix + "embeddings.patch_embeddings.projection";
  const auto place = [&](const Tensor& tensor) { return tensor.to(options.device); };
  DomainVitWeights weights;
  const Tensor class_token = source.take(prefix + "embeddings.cls_token", {1, 1, width});
  const Tensor positions = source.take(prefix + "embeddings.position_embeddings", {1, 1 + grid * grid, width});
  weights.patch = FrozenLinear(place(patch_matrix(source, patches + ".weight", width, config.patch)),
                               place(source.take(patches + ".bias", {width})), options.products);
  weights.class_row = place(class_token + positions.narrow(1, 0, 1));
  weights.positions = place(
      interpolate_positions(positions[0].narrow(0, 1, grid * grid), grid, description.preprocess.size / config.patch));
  const BlockNames& names = config.kind == Kind::kDinov2 ? kDinov2Names : kVitNames;
  weights.transformer = frozen_blocks(
      config.blocks, "", block_tensors(source, prefix + "encoder.layer.", names, config.blocks, config.qkv_bias),
      options.device, options.products);
  weights.after = {place(source.take(prefix + "layernorm.weight", {width})),
                   place(source.take(prefix + "layernorm.bias", {width})), config.blocks.epsilon};
  weights.tap = make_tap(config, source, options);
  return weights;
}

class DomainVit : public DomainEncoder {
 public:
  DomainVit(const DomainDescription& description, DomainVitWeights weights, const DomainOptions& options,
            const std::string& key)
      : DomainEncoder(description.preprocess, options.device, key),
        patch_(description.config.patch),
        pooling_(options.pooling),
        weights_(std::move(weights)) {}

  std::int64_t width() const override {
    return weights_.tap.defined() ? weights_.tap.weight().size(0) : weights_.after.weight.size(0);
  }

 private:
  Tensor encode_part(const Tensor& pixels) const override {
    const auto& [blocks, heads, activation] = weights_.transformer;
    const Tensor cells = weights_.patch(patches_of(pixels, patch_)) + weights_.positions;
    Tensor sequence = at::cat({weights_.class_row.expand({pixels.size(0), 1, cells.size(2)}), cells}, 1);
    const bool mean = pooling_ == DomainPooling::kMean;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const auto kept = i + 1 == blocks.size() && !mean ? 1 : sequence.size(1);
      sequence = full_block(blocks[i], heads, activation, sequence, kept);
    }
    const Tensor pooled =
        mean ? weights_.after(sequence.narrow(1, 1, cells.size(1))).mean(1) : weights_.after(sequence.select(1, 0));
    return weights_.tap.defined() ? weights_.tap(pooled) : pooled;
  }
  std::int64_t pictures_at_once() const override { return 4; }

  std::int64_t patch_;
  DomainPooling pooling_;
  DomainVitWeights weights_;
};

}  // namespace

Tensor interpolate_positions(const Tensor& positions, std::int64_t from, std::int64_t side) {
  if (from == side) return positions;
  const auto width = positions.size(1);
  const Tensor grid = positions.view({1, from, from, width}).permute({0, 3, 1, 2});
  return at::upsample_bicubic2d(grid, {side, side}, false).permute({0, 2, 3, 1}).reshape({side * side, width});
}

std::shared_ptr<const DomainEncoder> make_domain_vit(const DomainDescription& description, const NamedTensors& source,
                                                     const DomainOptions& options, const std::string& key) {
  return std::make_shared<DomainVit>(description, read_weights(description, source, options), options, key);
}

}  // namespace attune

#include "attune/diffusion/vae.h"

#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/diffusion/layers.h"

namespace attune {
namespace {

constexpr double kEpsilon = 1e-6;

/// x + out(attention over the cells of norm x), one head.
struct CellAttention {
  GroupNorm norm;
  FrozenLinear q, k, v, out;

  Tensor operator()(const Tensor& maps) const {
    const Tensor rows = rows_of(norm(maps)).contiguous();
    const Tensor mixed = attend(q(rows).unsqueeze(1), k(rows).unsqueeze(1), v(rows).unsqueeze(1));
    return maps + maps_of(out(mixed), maps.size(2), maps.size(3));
  }
};

struct VaeMiddle {
  ResidualBlock<FrozenLinear> first, second;
  std::optional<CellAttention> attention;

  Tensor operator()(const Tensor& maps) const {
    const Tensor inner = first(maps);
    return second(attention ? (*attention)(inner) : inner);
  }
};

struct VaeStage {
  std::vector<ResidualBlock<FrozenLinear>> residuals;
  std::optional<Conv> resample;

  Tensor residual(Tensor maps) const {
    for (const auto& block : residuals) maps = block(maps);
    return maps;
  }
};

struct VaeSide {
  Conv in;
  std::vector<VaeStage> stages;
  VaeMiddle middle;
  GroupNorm norm;
  Conv out;

  Tensor end(const Tensor& maps) const { return out(at::silu(norm(maps))); }
};

class VaeBuilder {
 public:
  VaeBuilder(const VaeConfig& config, const Supply& supply) : config_(config), make_(supply, nullptr) {}

  VaeSide encoder() const {
    const auto last = config_.channels.back();
    VaeSide side;
    side.in = make_.conv("encoder.conv_in", config_.channels.front(), config_.in_channels, 3);
    std::int64_t current = config_.channels.front();
    for (std::size_t i = 0; i < config_.channels.size(); ++i) {
      const std::string name = fmt::format("encoder.down_blocks.{}.", i);
      side.stages.push_back(stage(name, config_.channels[i], current, config_.layers));
      current = config_.channels[i];
      if (i + 1 < config_.channels.size()) {
        side.stages.back().resample = make_.conv(name + "downsamplers.0.conv", current, current, 3, 2, 0);
      }
    }
    side.middle = middle("encoder.mid_block", last);
    side.norm = make_.group_norm("encoder.conv_norm_out", last, config_.groups, kEpsilon);
    side.out = make_.conv("encoder.conv_out", 2 * config_.latent_channels, last, 3);
    return side;
  }

  VaeSide decoder() const {
    const auto first = config_.channels.front();
    VaeSide side;
    std::int64_t current = config_.channels.back();
    side.in = make_.conv("decoder.conv_in", current, config_.latent_channels, 3);
    side.middle = middle("decoder.mid_block", current);
    for (std::size_t i = 0; i < config_.channels.size(); ++i) {
      const std::string name = fmt::format("decoder.up_blocks.{}.", i);
      const auto out = config_.channels[config_.channels.size() - 1 - i];
      side.stages.push_back(stage(name, out, current, config_.layers + 1));
      current = out;
      if (i + 1 < config_.channels.size()) {
        side.stages.back().resample = make_.conv(name + "upsamplers.0.conv", current, current, 3);
      }
    }
    side.norm = make_.group_norm("decoder.conv_norm_out", first, config_.groups, kEpsilon);
    side.out = make_.conv("decoder.conv_out", config_.out_channels, first, 3);
    return side;
  }

  Conv quant(const std::string& name, std::int64_t channels) const {
    return make_.conv(name, channels, channels, 1, 1, 0);
  }

 private:
  ResidualBlock<FrozenLinear> residual(const std::string& name, std::int64_t out, std::int64_t in) const {
    return make_.residual(name, out, in, 0, config_.groups, kEpsilon);
  }

  VaeStage stage(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t layers) const {
    VaeStage stage;
    for (std::int64_t j = 0; j < layers; ++j) {
      stage.residuals.push_back(residual(fmt::format("{}resnets.{}", name, j), out, j == 0 ? in : out));
    }
    return stage;
  }

  VaeMiddle middle(const std::string& name, std::int64_t width) const {
    VaeMiddle middle{residual(name + ".resnets.0", width, width), residual(name + ".resnets.1", width, width), {}};
    if (config_.middle_attention) {
      const std::string place = name + ".attentions.0.";
      middle.attention =
          CellAttention{make_.group_norm(place + "group_norm", width, config_.groups, kEpsilon),
                        make_.linear(place + "to_q", width, width), make_.linear(place + "to_k", width, width),
                        make_.linear(place + "to_v", width, width), make_.linear(place + "to_out.0", width, width)};
    }
    return middle;
  }

  const VaeConfig& config_;
  LayerMaker<FrozenLinear> make_;
};

/// Older folders have other names for the attention's layers, and their matrices as convolutions or not.
std::string older_name(std::string name) {
  for (const auto& [newer, older] : {std::pair{".to_q.", ".query."}, std::pair{".to_k.", ".key."},
                                     std::pair{".to_v.", ".value."}, std::pair{".to_out.0.", ".proj_attn."}}) {
    const auto at = name.find(newer);
    if (at != std::string::npos) name.replace(at, std::string_view(newer).size(), older);
  }
  return name;
}

Tensor take_either(const NamedTensors& source, const std::string& name, at::IntArrayRef shape) {
  const std::string older = older_name(name);
  const std::string& found = !source.contains(name) && source.contains(older) ? older : name;
  const auto tensor = source.tensors.find(found);
  if (shape.size() == 2 && tensor != source.tensors.end() && tensor->second.dim() == 4) {
    return source.take(found, {shape[0], shape[1], 1, 1}).reshape(shape);
  }
  return source.take(found, shape);
}

}  // namespace

struct Vae::Parts {
  VaeConfig config;
  VaeSide encoder, decoder;
  std::optional<Conv> quant, post_quant;
};

namespace {

/// Calls `made` with the parts of an autoencoder, whose tensors come from `supply`.
template <class Made>
void build_vae(const VaeConfig& config, const Supply& supply, const Made& made) {
  const VaeBuilder build(config, supply);
  std::optional<Conv> quant, post_quant;
  if (config.quant) quant = build.quant("quant_conv", 2 * config.latent_channels);
  if (config.post_quant) post_quant = build.quant("post_quant_conv", config.latent_channels);
  made(build.encoder(), build.decoder(), quant, post_quant);
}

}  // namespace

Vae::Vae(const VaeConfig& config, const NamedTensors& source) {
  const Supply supply = [&](const std::string& name, at::IntArrayRef shape) {
    return take_either(source, name, shape);
  };
  build_vae(config, supply, [&](const VaeSide& encoder, const VaeSide& decoder, const auto& quant, const auto& post) {
    parts_ = std::make_unique<const Parts>(Parts{config, encoder, decoder, quant, post});
  });
}
Vae::Vae(Vae&&) noexcept = default;
Vae::~Vae() = default;

const VaeConfig& Vae::config() const {
  return parts_->config;
}

Latents Vae::encode(const Tensor& pixels) const {
  const auto& config = parts_->config;
  const auto factor = config.factor();
  if (pixels.dim() != 4 || pixels.size(1) != config.in_channels || pixels.size(2) % factor != 0 ||
      pixels.size(3) % factor != 0) {
    throw Error(fmt::format("vae: expected pixels [B, {}, H, W] with sides that {} divides, found [{}]",
                            config.in_channels, factor, fmt::join(pixels.sizes(), ", ")));
  }
  const VaeSide& side = parts_->encoder;
  Tensor maps = side.in(pixels);
  for (const auto& stage : side.stages) {
    maps = stage.residual(maps);
    // One row and one column of zeros behind the map, none before it.
    if (stage.resample) maps = (*stage.resample)(at::constant_pad_nd(maps, {0, 1, 0, 1}));
  }
  maps = side.end(side.middle(maps));
  if (parts_->quant) maps = (*parts_->quant)(maps);
  const auto halves = maps.chunk(2, 1);
  return {halves[0], halves[1].clamp(-30.0, 20.0)};
}

Tensor Vae::decode(const Tensor& latents) const {
  const auto& config = parts_->config;
  if (latents.dim() != 4 || latents.size(1) != config.latent_channels) {
    throw Error(fmt::format("vae: expected latents [B, {}, h, w], found [{}]", config.latent_channels,
                            fmt::join(latents.sizes(), ", ")));
  }
  const VaeSide& side = parts_->decoder;
  Tensor maps = side.middle(side.in(parts_->post_quant ? (*parts_->post_quant)(latents) : latents));
  for (const auto& stage : side.stages) {
    maps = stage.residual(maps);
    if (stage.resample) {
      maps = (*stage.resample)(at::upsample_nearest2d(maps, {2 * maps.size(2), 2 * maps.size(3)}));
    }
  }
  return side.end(maps);
}

std::map<std::string, std::vector<std::int64_t>> vae_shapes(const VaeConfig& config) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  const Supply supply = [&](const std::string& name, at::IntArrayRef shape) {
    shapes.emplace(name, shape.vec());
    return at::empty(shape, at::TensorOptions(at::kMeta).dtype(at::kFloat));
  };
  build_vae(config, supply, [](const auto&...) {});
  return shapes;
}

}  // namespace attune

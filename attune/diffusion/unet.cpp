#include "attune/diffusion/unet.h"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

// The norm before a map's transformer has an epsilon of its own.
constexpr double kTransformerEpsilon = 1e-6;

/// Builds a UNet stage by stage; the channels that the way down leaves are what the way up joins.
template <class L>
class UNetBuilder {
 public:
  UNetBuilder(const UNetConfig& config, const LayerMaker<L>& make) : config_(config), make_(make) {}

  UNetWeights<L> build() {
    const auto first = config_.channels.front(), time = config_.time_width();
    UNetWeights<L> weights;
    weights.in = make_.conv("conv_in", first, config_.in_channels, 3);
    weights.time1 = make_.linear("time_embedding.linear_1", time, first);
    weights.time2 = make_.linear("time_embedding.linear_2", time, time);
    current_ = first;
    left_.push_back(first);
    for (std::size_t i = 0; i < config_.channels.size(); ++i) weights.down.push_back(down(i));
    if (config_.middle) weights.middle = middle();
    for (std::size_t i = 0; i < config_.channels.size(); ++i) weights.up.push_back(up(i));
    weights.norm = make_.group_norm("conv_norm_out", first, config_.groups, config_.norm_epsilon);
    weights.out = make_.conv("conv_out", config_.out_channels, first, 3);
    return weights;
  }

 private:
  ResidualBlock<L> residual(const std::string& name, std::int64_t out, std::int64_t in) const {
    return make_.residual(name, out, in, config_.time_width(), config_.groups, config_.norm_epsilon);
  }

  UNetStage<L> down(std::size_t i) {
    const std::string name = fmt::format("down_blocks.{}.", i);
    const auto out = config_.channels[i];
    UNetStage<L> stage;
    for (std::int64_t j = 0; j < config_.layers[i]; ++j) {
      stage.residuals.push_back(residual(fmt::format("{}resnets.{}", name, j), out, current_));
      if (config_.attention_down[i]) {
        stage.transformers.push_back(transformer(fmt::format("{}attentions.{}", name, j), out, i));
      }
      current_ = out;
      left_.push_back(out);
    }
    if (i + 1 < config_.channels.size()) {
      stage.resample = make_.conv(name + "downsamplers.0.conv", out, out, 3, 2, config_.downsample_padding);
      left_.push_back(out);
    }
    return stage;
  }

  UNetStage<L> middle() {
    const auto width = config_.channels.back();
    UNetStage<L> stage;
    stage.residuals.push_back(residual("mid_block.resnets.0", width, width));
    stage.transformers.push_back(transformer("mid_block.attentions.0", width, config_.channels.size() - 1));
    stage.residuals.push_back(residual("mid_block.resnets.1", width, width));
    return stage;
  }

  UNetStage<L> up(std::size_t i) {
    const std::string name = fmt::format("up_blocks.{}.", i);
    const std::size_t mirrored = config_.channels.size() - 1 - i;
    const auto out = config_.channels[mirrored];
    UNetStage<L> stage;
    for (std::int64_t j = 0; j <= config_.layers[mirrored]; ++j) {
      stage.residuals.push_back(residual(fmt::format("{}resnets.{}", name, j), out, current_ + left_.back()));
      left_.pop_back();
      if (config_.attention_up[i]) {
        stage.transformers.push_back(transformer(fmt::format("{}attentions.{}", name, j), out, mirrored));
      }
      current_ = out;
    }
    if (mirrored > 0) stage.resample = make_.conv(name + "upsamplers.0.conv", out, out, 3);
    return stage;
  }

  CrossAttention<L> attention(const std::string& name, std::int64_t width, std::int64_t from) const {
    return {make_.linear(name + ".to_q", width, width, false), make_.linear(name + ".to_k", width, from, false),
            make_.linear(name + ".to_v", width, from, false), make_.linear(name + ".to_out.0", width, width)};
  }

  ConditionedBlock<L> block(const std::string& name, std::int64_t width) const {
    constexpr std::int64_t kFactor = 4;
    return {make_.norm(name + ".norm1", width),
            make_.norm(name + ".norm2", width),
            make_.norm(name + ".norm3", width),
            attention(name + ".attn1", width, width),
            attention(name + ".attn2", width, config_.hidden_width),
            make_.linear(name + ".ff.net.0.proj", 2 * kFactor * width, width),
            make_.linear(name + ".ff.net.2", width, kFactor * width)};
  }

  MapTransformer<L> transformer(const std::string& name, std::int64_t width, std::size_t stage) const {
    const auto outer = [&](const std::string& layer) {
      return config_.linear_projection ? make_.linear(layer, width, width) : make_.pointwise(layer, width, width);
    };
    MapTransformer<L> result;
    result.heads = config_.heads[stage];
    result.norm = make_.group_norm(name + ".norm", width, config_.groups, kTransformerEpsilon);
    result.in = outer(name + ".proj_in");
    for (std::int64_t i = 0; i < config_.transformer_layers[stage]; ++i) {
      result.blocks.push_back(block(fmt::format("{}.transformer_blocks.{}", name, i), width));
    }
    result.out = outer(name + ".proj_out");
    return result;
  }

  const UNetConfig& config_;
  const LayerMaker<L>& make_;
  std::int64_t current_ = 0;
  std::vector<std::int64_t> left_;
};

template <class L>
UNetWeights<L> build_unet(const UNetConfig& config, const Supply& supply, TensorMap* leaves = nullptr) {
  check_unet(config, "unet");
  const LayerMaker<L> make(supply, leaves);
  return UNetBuilder<L>(config, make).build();
}

Supply supply_of(const NamedTensors& source) {
  return [&source](const std::string& name, at::IntArrayRef shape) { return source.take(name, shape); };
}

Tensor heads_of(const Tensor& rows, std::int64_t heads) {
  return rows.unflatten(2, {heads, -1}).transpose(1, 2);
}

/// rows [B, cells, width]; from [B or 1, n, width of the source].
template <class L>
Tensor attention(const CrossAttention<L>& layer, std::int64_t heads, const Tensor& rows, const Tensor& from,
                 const Tensor& residual) {
  // Keys and values that all samples share are made once, and the queries of the batch stand in one long row before
  // them: no copies forward, no sum over samples backward.
  const Tensor q = layer.q(rows);
  const Tensor queries = from.size(0) == rows.size(0) ? q : q.reshape({1, -1, q.size(2)});
  const Tensor mixed = attend(heads_of(queries, heads), heads_of(layer.k(from), heads), heads_of(layer.v(from), heads));
  return layer.out.added(mixed.view_as(q), residual);
}

template <class L>
Tensor conditioned(const ConditionedBlock<L>& block, std::int64_t heads, Tensor rows, const Tensor& hidden) {
  const Tensor normal = block.norm1(rows);
  rows = attention(block.self, heads, normal, normal, rows);
  rows = attention(block.cross, heads, block.norm2(rows), hidden, rows);
  const auto halves = block.widen(block.norm3(rows)).chunk(2, 2);
  return block.project.added(halves[0] * at::gelu(halves[1]), rows);
}

template <class L>
Tensor transformed(const MapTransformer<L>& transformer, const Tensor& maps, const Tensor& hidden) {
  Tensor rows = transformer.in(rows_of(transformer.norm(maps)));
  for (const auto& block : transformer.blocks) rows = conditioned(block, transformer.heads, rows, hidden);
  return maps + maps_of(transformer.out(rows), maps.size(2), maps.size(3));
}

template <class L>
Tensor predict_maps(const UNetConfig& config, const UNetWeights<L>& weights, const Tensor& input, const Tensor& steps,
                    const Tensor& hidden) {
  Tensor time = time_features(steps, config.channels.front(), config.flip_sin_to_cos, config.freq_shift);
  time = at::silu(weights.time2(at::silu(weights.time1(time))));

  Tensor maps = weights.in(config.centre_input ? 2 * input - 1 : input);
  std::vector<Tensor> left{maps};
  const auto attended = [&](const UNetStage<L>& stage, std::size_t i) {
    return stage.transformers.empty() ? maps : transformed(stage.transformers[i], maps, hidden);
  };
  for (const auto& stage : weights.down) {
    for (std::size_t i = 0; i < stage.residuals.size(); ++i) {
      maps = stage.residuals[i](maps, time);
      maps = attended(stage, i);
      left.push_back(maps);
    }
    if (stage.resample) left.push_back(maps = (*stage.resample)(maps));
  }
  if (weights.middle) {
    maps = weights.middle->residuals[0](maps, time);
    maps = attended(*weights.middle, 0);
    maps = weights.middle->residuals[1](maps, time);
  }
  for (const auto& stage : weights.up) {
    for (std::size_t i = 0; i < stage.residuals.size(); ++i) {
      maps = stage.residuals[i](at::cat({maps, left.back()}, 1), time);
      left.pop_back();
      maps = attended(stage, i);
    }
    // The next stage joins what the way down left: its size is the size to come to, also where halving rounded.
    if (stage.resample) {
      maps = (*stage.resample)(at::upsample_nearest2d(maps, {left.back().size(2), left.back().size(3)}));
    }
  }
  return weights.out(at::silu(weights.norm(maps)));
}

void check_call(const UNetConfig& config, const Tensor& maps, const Tensor& steps, const Tensor& hidden) {
  const auto shared = [&](const Tensor& tensor) { return tensor.size(0) == 1 || tensor.size(0) == maps.size(0); };
  const bool fits = maps.dim() == 4 && maps.size(1) == config.in_channels && steps.dim() == 1 && shared(steps) &&
                    hidden.dim() == 3 && shared(hidden) && hidden.size(2) == config.hidden_width && maps.numel() > 0 &&
                    hidden.numel() > 0;
  if (!fits) {
    throw Error(fmt::format(
        "unet: expected maps [B, {}, H, W], steps [B or 1] and hidden [B or 1, n, {}], found [{}], [{}] and [{}]",
        config.in_channels, config.hidden_width, fmt::join(maps.sizes(), ", "), fmt::join(steps.sizes(), ", "),
        fmt::join(hidden.sizes(), ", ")));
  }
}

class FrozenUNet final : public UNet {
 public:
  FrozenUNet(const UNetConfig& config, const NamedTensors& source)
      : config_(config), weights_(build_unet<FrozenLinear>(config, supply_of(source))) {}
  const UNetConfig& config() const override { return config_; }
  Tensor predict(const Tensor& maps, const Tensor& steps, const Tensor& hidden) const override {
    check_call(config_, maps, steps, hidden);
    return predict_maps(config_, weights_, maps, steps, hidden);
  }

 private:
  UNetConfig config_;
  UNetWeights<FrozenLinear> weights_;
};

bool ends_with(const std::string& name, std::string_view ending) {
  return name.size() >= ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0;
}

}  // namespace

Tensor time_features(const Tensor& steps, std::int64_t width, bool flip_sin_to_cos, double freq_shift) {
  const std::int64_t half = width / 2;
  const Tensor exponent =
      at::arange(half, at::kFloat) * (-std::log(10000.0)) / (static_cast<double>(half) - freq_shift);
  const Tensor angles = steps.to(at::kFloat).unsqueeze(1) * at::exp(exponent).unsqueeze(0);
  const Tensor sines = at::sin(angles), cosines = at::cos(angles);
  const Tensor features = at::cat(flip_sin_to_cos ? std::vector{cosines, sines} : std::vector{sines, cosines}, 1);
  return width % 2 == 0 ? features : at::constant_pad_nd(features, {0, 1});
}

TrainableUNet::TrainableUNet(const UNetConfig& config, const NamedTensors& source)
    : config_(config), weights_(build_unet<Linear>(config, supply_of(source), &leaves_)) {}

Tensor TrainableUNet::predict(const Tensor& maps, const Tensor& steps, const Tensor& hidden) const {
  check_call(config_, maps, steps, hidden);
  return predict_maps(config_, weights_, maps, steps, hidden);
}

void TrainableUNet::load_parameters(const TensorMap& parameters) {
  const at::NoGradGuard without_gradients;
  const NamedTensors source{parameters, "unet"};
  for (auto& [name, leaf] : leaves_) leaf.copy_(source.take(name, leaf.sizes()));
}

std::shared_ptr<const UNet> make_frozen_unet(const UNetConfig& config, const NamedTensors& source) {
  return std::make_shared<FrozenUNet>(config, source);
}

std::map<std::string, std::vector<std::int64_t>> unet_shapes(const UNetConfig& config) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  // Tensors on this device have shapes and no numbers.
  build_unet<FrozenLinear>(config, [&](const std::string& name, at::IntArrayRef shape) {
    shapes.emplace(name, shape.vec());
    return at::empty(shape, at::TensorOptions(at::kMeta).dtype(at::kFloat));
  });
  return shapes;
}

TensorMap random_unet_tensors(const UNetConfig& config, std::uint64_t seed) {
  constexpr double kLast = 0.01;
  TensorMap tensors;
  const auto shapes = unet_shapes(config);
  for (const auto& [name, shape] : shapes) {
    if (name.find("norm") != std::string::npos) {
      tensors[name] = ends_with(name, ".bias") ? at::zeros(shape) : at::ones(shape);
      continue;
    }
    const std::string layer = name.substr(0, name.rfind('.'));
    const auto& matrix = shapes.at(layer + ".weight");
    std::int64_t inputs = 1;
    for (std::size_t i = 1; i < matrix.size(); ++i) inputs *= matrix[i];
    const bool last = ends_with(layer, "conv2") || ends_with(layer, "proj_out") || layer == "conv_out";
    const double bound = (last ? kLast : 1.0) / std::sqrt(static_cast<double>(inputs));
    KeyedRandom random(seed, "unet." + name);
    tensors[name] = uniform(shape, -bound, bound, random);
  }
  return tensors;
}

TensorMap unet_file_tensors(const UNetConfig& config, const TensorMap& parameters) {
  TensorMap tensors;
  for (const auto& [name, shape] : unet_shapes(config)) {
    const auto found = parameters.find(name);
    if (found == parameters.end()) throw Error(fmt::format("unet: expected a tensor '{}', found none", name));
    tensors[name] = found->second.detach().reshape(shape);
  }
  return tensors;
}

}  // namespace attune

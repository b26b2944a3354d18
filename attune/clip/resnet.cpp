#include "attune/clip/resnet.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/vit.h"

namespace attune {
namespace {

constexpr double kBatchNormEpsilon = 1e-5;
constexpr std::int64_t kExpansion = 4;

/// A convolution with its batch norm folded in.
struct Convolution {
  Tensor weight, bias;
  std::int64_t stride = 1;

  Tensor operator()(const Tensor& input) const {
    const auto padding = weight.size(2) / 2;
    return at::conv2d(input, weight, bias, stride, padding);
  }
};

struct Bottleneck {
  Convolution first, second, third;
  Convolution shortcut;  // without weight where the input is added as it is
  std::int64_t stride = 1;
};

struct AttentionPool {
  Tensor positions;  // [1 + cells, width]
  FrozenLinear q, k, v, out;
  std::int64_t heads = 1;
};

class ConvolutionReader {
 public:
  ConvolutionReader(const NamedTensors& source, at::Device device) : source_(source), device_(device) {}

  Convolution convolution(const std::string& name, const std::string& norm, std::int64_t out, std::int64_t in,
                          std::int64_t side, std::int64_t stride = 1) const {
    const Tensor weight = source_.take(name + ".weight", {out, in, side, side});
    const Tensor gain =
        source_.take(norm + ".weight", {out}) / (source_.take(norm + ".running_var", {out}) + kBatchNormEpsilon).sqrt();
    const Tensor bias = source_.take(norm + ".bias", {out}) - source_.take(norm + ".running_mean", {out}) * gain;
    return {(weight * gain.view({-1, 1, 1, 1})).to(device_), bias.to(device_), stride};
  }

  Bottleneck bottleneck(const std::string& name, std::int64_t in, std::int64_t planes, std::int64_t stride) const {
    Bottleneck block;
    block.stride = stride;
    block.first = convolution(name + ".conv1", name + ".bn1", planes, in, 1);
    block.second = convolution(name + ".conv2", name + ".bn2", planes, planes, 3);
    block.third = convolution(name + ".conv3", name + ".bn3", planes * kExpansion, planes, 1);
    if (stride > 1 || in != planes * kExpansion) {
      block.shortcut = convolution(name + ".downsample.0", name + ".downsample.1", planes * kExpansion, in, 1);
    }
    return block;
  }

  AttentionPool pool(const std::string& name, std::int64_t cells, std::int64_t width, std::int64_t out,
                     std::int64_t heads) const {
    const auto layer = [&](const char* part, std::int64_t rows) {
      const std::string full = name + part;
      return FrozenLinear(source_.take(full + ".weight", {rows, width}).to(device_),
                          source_.take(full + ".bias", {rows}).to(device_));
    };
    return {source_.take(name + ".positional_embedding", {1 + cells, width}).to(device_),
            layer(".q_proj", width),
            layer(".k_proj", width),
            layer(".v_proj", width),
            layer(".c_proj", out),
            heads};
  }

 private:
  const NamedTensors& source_;
  at::Device device_;
};

Tensor halve(const Tensor& input) {
  return at::avg_pool2d(input, {2, 2});
}

Tensor run(const Bottleneck& block, const Tensor& input) {
  const Tensor middle = at::relu(block.second(at::relu(block.first(input))));
  const bool strided = block.stride > 1;
  const Tensor output = block.third(strided ? halve(middle) : middle);
  if (!block.shortcut.weight.defined()) return at::relu(output + input);
  return at::relu(output + block.shortcut(strided ? halve(input) : input));
}

class ResNet : public ImageTower {
 public:
  ResNet(const ClipConfig& config, const NamedTensors& source, at::Device device) : config_(config.vision) {
    const ConvolutionReader read(source, device);
    const auto width = config_.width;
    stem_ = {read.convolution("visual.conv1", "visual.bn1", width / 2, 3, 3, 2),
             read.convolution("visual.conv2", "visual.bn2", width / 2, width / 2, 3),
             read.convolution("visual.conv3", "visual.bn3", width, width / 2, 3)};
    std::int64_t in = width;
    for (std::size_t stage = 0; stage < config_.stages.size(); ++stage) {
      const std::int64_t planes = width << stage;
      for (std::int64_t i = 0; i < config_.stages[stage]; ++i) {
        const auto name = fmt::format("visual.layer{}.{}", stage + 1, i);
        blocks_.push_back(read.bottleneck(name, in, planes, stage > 0 && i == 0 ? 2 : 1));
        in = planes * kExpansion;
      }
    }
    const auto side = config_.image_size / 32;
    pool_ = read.pool("visual.attnpool", side * side, in, config.joint_width, config_.heads);
  }

  const VisionConfig& config() const override { return config_; }
  std::int64_t rows() const override { return pool_.positions.size(0); }

  ImageFeatures encode(const Tensor& pixels, const Tuning& tuning, bool local) const override {
    check_pixels(config_, pixels);
    check_tuning(tuning, 0, config_.width, "image tower (ResNet)");
    Tensor maps = pixels;
    for (const auto& convolution : stem_) maps = at::relu(convolution(maps));
    maps = halve(maps);
    for (const auto& block : blocks_) maps = run(block, maps);
    return pooled(maps, local);
  }

 private:
  ImageFeatures pooled(const Tensor& maps, bool local) const {
    const Tensor cells = maps.flatten(2).transpose(1, 2);  // [B, cells, width]
    const Tensor sequence = at::cat({cells.mean(1, true), cells}, 1) + pool_.positions;
    const auto batch = sequence.size(0);
    const auto by_head = [&](const Tensor& rows) {
      return rows.view({batch, -1, pool_.heads, rows.size(2) / pool_.heads}).transpose(1, 2);
    };
    const Tensor queries = local ? sequence : sequence.narrow(1, 0, 1);
    const Tensor mixed =
        attend(by_head(pool_.q(queries.contiguous())), by_head(pool_.k(sequence)), by_head(pool_.v(sequence)));
    const Tensor features = pool_.out(mixed);
    return {features.select(1, 0), local ? features.narrow(1, 1, features.size(1) - 1) : Tensor()};
  }

  VisionConfig config_;
  std::vector<Convolution> stem_;
  std::vector<Bottleneck> blocks_;
  AttentionPool pool_;
};

}  // namespace

std::shared_ptr<const ImageTower> make_resnet(const ClipConfig& config, const NamedTensors& source, at::Device device) {
  return std::make_shared<ResNet>(config, source, device);
}

}  // namespace attune

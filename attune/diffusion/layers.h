#pragma once

#include <functional>
#include <optional>
#include <string>

#include "attune/tensors/layers.h"
#include "attune/tensors/linear.h"

namespace attune {

/// A convolution with a square kernel over maps [B, in, H, W]. Trains or not, as its tensors say: with frozen ones only
/// the input's gradient is computed.
struct Conv {
  Tensor weight;  // [out, in, kernel, kernel]
  Tensor bias;    // [out]
  std::int64_t stride = 1;
  std::int64_t padding = 1;

  Tensor operator()(const Tensor& maps) const;
};

/// Normalises groups of channels of maps [B, channels, H, W]. Trains or not, as its tensors say.
struct GroupNorm {
  Tensor weight;  // [channels]
  Tensor bias;    // [channels]
  std::int64_t groups = 32;
  double epsilon = 1e-5;

  Tensor operator()(const Tensor& maps) const;
};

/// shortcut(x) + conv2(silu(norm2(conv1(silu(norm1 x)) + time(silu(embedding))))).
template <class L>
struct ResidualBlock {
  GroupNorm norm1;
  Conv conv1;
  std::optional<L> time;  // none in an autoencoder
  GroupNorm norm2;
  Conv conv2;
  std::optional<Conv> shortcut;  // where the channels change

  /// maps [B, in, H, W]; active_time [B, width]: silu of the time embedding, unused without `time`.
  Tensor operator()(const Tensor& maps, const Tensor& active_time = {}) const {
    Tensor inner = conv1(at::silu(norm1(maps)));
    if (time) inner = inner + (*time)(active_time).unsqueeze(2).unsqueeze(3);
    inner = conv2(at::silu(norm2(inner)));
    return (shortcut ? (*shortcut)(maps) : maps) + inner;
  }
};

/// Maps [B, C, H, W] as rows [B, H * W, C], and back.
Tensor rows_of(const Tensor& maps);
Tensor maps_of(const Tensor& rows, std::int64_t height, std::int64_t width);

/// Where the tensors of a model come from: the one of that name, fp32, which has the given shape.
using Supply = std::function<Tensor(const std::string& name, at::IntArrayRef shape)>;

/// Makes layers from supplied tensors; L is Linear where they train and FrozenLinear where they don't.
template <class L>
class LayerMaker {
 public:
  /// Leaves of trainable layers are added to `leaves`, which must outlive the maker, by name.
  LayerMaker(Supply supply, TensorMap* leaves) : supply_(std::move(supply)), leaves_(leaves) {}

  Tensor tensor(const std::string& name, at::IntArrayRef shape) const { return leaf(name, supply_(name, shape)); }
  Conv conv(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride = 1,
            std::int64_t padding = 1) const {
    return {tensor(name + ".weight", {out, in, kernel, kernel}), tensor(name + ".bias", {out}), stride, padding};
  }
  GroupNorm group_norm(const std::string& name, std::int64_t channels, std::int64_t groups, double epsilon) const {
    return {tensor(name + ".weight", {channels}), tensor(name + ".bias", {channels}), groups, epsilon};
  }
  LayerNorm norm(const std::string& name, std::int64_t width, double epsilon = 1e-5) const {
    return {tensor(name + ".weight", {width}), tensor(name + ".bias", {width}), epsilon};
  }
  L linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias = true) const {
    const Tensor weight = tensor(name + ".weight", {out, in});
    return make(weight, bias ? tensor(name + ".bias", {out}) : Tensor());
  }
  /// A convolution with a kernel of 1 by 1 in the file, as the matrix that it is.
  L pointwise(const std::string& name, std::int64_t out, std::int64_t in) const {
    const std::string weight = name + ".weight";
    const Tensor matrix = leaf(weight, supply_(weight, {out, in, 1, 1}).reshape({out, in}));
    return make(matrix, tensor(name + ".bias", {out}));
  }
  /// `time_width` 0: without a time embedding.
  ResidualBlock<L> residual(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t time_width,
                            std::int64_t groups, double epsilon) const;

 private:
  Tensor leaf(const std::string& name, const Tensor& tensor) const;
  L make(const Tensor& weight, const Tensor& bias) const { return L{weight, bias}; }

  Supply supply_;
  TensorMap* leaves_;
};

extern template class LayerMaker<Linear>;
extern template class LayerMaker<FrozenLinear>;

}  // namespace attune

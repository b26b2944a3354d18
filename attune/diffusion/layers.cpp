#include "attune/diffusion/layers.h"

#include <type_traits>

namespace attune {

Tensor Conv::operator()(const Tensor& maps) const {
  return at::conv2d(maps, weight, bias, stride, padding);
}

Tensor GroupNorm::operator()(const Tensor& maps) const {
  return at::group_norm(maps, groups, weight, bias, epsilon);
}

Tensor rows_of(const Tensor& maps) {
  return maps.flatten(2).transpose(1, 2);
}

Tensor maps_of(const Tensor& rows, std::int64_t height, std::int64_t width) {
  return rows.transpose(1, 2).unflatten(2, {height, width});
}

template <class L>
ResidualBlock<L> LayerMaker<L>::residual(const std::string& name, std::int64_t out, std::int64_t in,
                                         std::int64_t time_width, std::int64_t groups, double epsilon) const {
  ResidualBlock<L> block;
  block.norm1 = group_norm(name + ".norm1", in, groups, epsilon);
  block.conv1 = conv(name + ".conv1", out, in, 3);
  if (time_width > 0) block.time = linear(name + ".time_emb_proj", out, time_width);
  block.norm2 = group_norm(name + ".norm2", out, groups, epsilon);
  block.conv2 = conv(name + ".conv2", out, out, 3);
  if (in != out) block.shortcut = conv(name + ".conv_shortcut", out, in, 1, 1, 0);
  return block;
}

template <class L>
Tensor LayerMaker<L>::leaf(const std::string& name, const Tensor& tensor) const {
  if constexpr (std::is_same_v<L, Linear>) {
    Tensor own = tensor.detach().clone(at::MemoryFormat::Contiguous).set_requires_grad(true);
    leaves_->insert_or_assign(name, own);
    return own;
  } else {
    return tensor.detach();
  }
}

template class LayerMaker<Linear>;
template class LayerMaker<FrozenLinear>;

}  // namespace attune

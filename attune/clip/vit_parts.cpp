#include "attune/clip/vit_parts.h"

#include <utility>

#include "attune/clip/tower_parts.h"

namespace attune {
namespace {

/// Global and local features as one tensor [B, 1 + cells, d] or [B, 1, d], and back.
Tensor joined(const ImageFeatures& features) {
  const Tensor global = features.global.unsqueeze(1);
  return features.local.defined() ? at::cat({global, features.local}, 1) : global;
}
ImageFeatures divided(const Tensor& features, bool local) {
  return {features.select(1, 0), local ? features.narrow(1, 1, features.size(1) - 1) : Tensor()};
}

}  // namespace

ImageFeatures encode_vit_in_parts(const VisionConfig& config, const VitWeights<FrozenLinear>& weights,
                                  const Tensor& pixels, const Tuning& tuning, bool local, const VitParts& parts) {
  const auto some = [batch = pixels.size(0), count = parts.count](std::int64_t i) {
    const std::int64_t first = batch * i / count;
    return std::pair(first, batch * (i + 1) / count - first);
  };
  Tuning given = tuning;
  std::vector<Tensor> tensors{pixels};
  for (Tensor* tensor : tensors_of(given)) {
    tensors.push_back(*tensor);
    *tensor = tensor->detach();
  }
  TowerParts call;
  call.count = parts.count;
  call.slice = [some](std::int64_t i, std::size_t, const Tensor& tensor) {
    const auto [first, count] = some(i);  // pixels and tokens of each picture lead with the pictures
    return tensor.dim() >= 3 && tensor.size(0) > 1 ? tensor.narrow(0, first, count) : tensor;
  };
  call.encode = [config, weights, given, local, some](std::int64_t i, const std::vector<Tensor>& slices) {
    Tuning own = given;
    const std::vector<Tensor*> places = tensors_of(own);
    for (std::size_t p = 0; p < places.size(); ++p) *places[p] = slices[p + 1];
    return joined(encode_vit(config, weights, slices.front(), own, local, some(i).first));
  };
  call.join = [](const std::vector<Tensor>& features) { return at::cat(features); };
  call.share = [some](std::int64_t i, const Tensor& gradient) {
    const auto [first, count] = some(i);
    return gradient.narrow(0, first, count);
  };
  call.keeps = [some, kept = parts.kept_pictures](std::int64_t i) {
    const auto [first, count] = some(i);
    return first + count <= kept;
  };
  return divided(encode_in_parts(std::move(call), tensors), local);
}

}  // namespace attune

#pragma once

#include "attune/clip/model.h"
#include "attune/clip/weights.h"

namespace attune {

/// The modified ResNet of CLIP (Radford et al. 2021, section 2.4) from tensors with OpenAI's names
/// ("visual.conv1.weight"): a stem of three convolutions, strided blocks that average before they stride, and attention
/// pooling whose mean token gives the global feature and whose other queries give the local ones. Batch norm is folded
/// into the convolutions. No tuning is possible: the tower has no tokens, and low-rank deltas have no place.
std::shared_ptr<const ImageTower> make_resnet(const ClipConfig& config, const NamedTensors& source,
                                              at::Device device = at::kCPU);

}  // namespace attune

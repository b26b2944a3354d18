#pragma once

#include "attune/clip/weights.h"

namespace attune {

/// Tensors with OpenAI's and OpenCLIP's names ("transformer.resblocks.0.attn.in_proj_weight", "visual.proj") under
/// Hugging Face's, q, k and v fused. Names of a ResNet ("visual.layer1...") stay as they are.
NamedTensors from_open_clip(const NamedTensors& source);

}  // namespace attune

#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// CLIP-Adapter, Gao et al. 2021, "CLIP-Adapter: Better Vision-Language Models with Feature Adapters", as its release
/// (gaopengcuhk/CLIP-Adapter) has it: a bottleneck on the image feature x, which is not normalised before,
///   x' = ratio relu(up relu(down x)) + (1 - ratio) x,  logits s <x' / |x'|, t_c>,  loss = -log softmax_y,
/// with the fixed text features t_c of hand-written sentences.
Method clip_adapter_method();

}  // namespace attune

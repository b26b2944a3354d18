#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// CLIP-LoRA (Zanella and Ben Ayed 2024): low-rank deltas of the attention projections of both towers.
Method clip_lora_method();

}  // namespace attune

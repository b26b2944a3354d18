#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// KgCoOp, Yao et al. 2023, "Visual-Language Prompt Tuning with Knowledge-guided Context Optimization": CoOp whose text
/// features t_c stay near those of hand-written sentences,
///   loss = -log softmax_y(s <f, t_c>) + weight (1 - mean_c cos(t_c, t_c^hand)).
Method kgcoop_method();

}  // namespace attune

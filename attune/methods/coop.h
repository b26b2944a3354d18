#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// CoOp, Zhou et al. 2022, "Learning to Prompt for Vision-Language Models":
///   t_c = text([SOS, v_1 ... v_M, name_c, ".", EOS]),  p(c|x) = softmax_c(s <f, t_c>),  loss = -log p(y|x).
/// Only the context v is learned, shared or one for each class.
Method coop_method();

}  // namespace attune

#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// CoCoOp (Zhou et al. 2022, "Conditional Prompt Learning for Vision-Language Models", section 3.2): the context of an
/// image x with normalised feature f is v_m(x) = v_m + pi(x), pi(x) = W2 relu(W1 f + b1) + b2, so that every image has
/// class features of its own.
///   context [M, width]; W1 [d / 16, d], W2 [width, d / 16]
/// One prefix an image before shared names: the text tower computes the names' embeddings once.
Method cocoop_method();

}  // namespace attune

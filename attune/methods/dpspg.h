#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// DPSPG, Zhang et al. 2025, "Dual-Path Stable Soft Prompt Generation for Domain Generalization" (arXiv 2505.18770),
/// the successor of SPG, as its release (renytek13/Dual-Path-Stable-Soft-Prompt-Generation) has it:
///   1. for every source domain a positive prompt p and a negative one n, learned on its samples alone,
///      loss = -log softmax_y(z^p) + mean BCE(z^n, 1 - onehot(y)) with the weight C - 1 on the positive answers,
///      z = s <f, t_c> of the one or the other prompt, judged by z^p - z^n;
///   2. two generators P and N (methods/prompt_encoder.h), loss = mean (P(f) - p)^2 + mean (N(f) - n)^2, with the
///      prompts of the picture's domain;
///   3. logits z^{P(f)} - alpha z^{N(f)}.
/// Unlike SPG's, its generator has neither noise nor a discriminator: a picture's answer is always the same.
Method dpspg_method();

}  // namespace attune

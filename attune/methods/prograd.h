#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// ProGrad, Zhu et al. 2023, "Prompt-aligned Gradient for Prompt Tuning": CoOp that never moves against what
/// hand-written sentences know. With g_ce the gradient of the cross-entropy and g_kl that of the divergence from the
/// zero-shot prediction, KL(softmax(z^hand / T) || softmax(z / T)) T^2, the context follows
///   g_ce where <g_ce, g_kl> >= 0, else g_ce - lambda <g_ce, u> u with u = g_kl / |g_kl|.
/// The context starts as words right before the name, behind zeros.
Method prograd_method();

/// The rule above for one tensor; a vanishing `general` leaves `own` as it is.
Tensor aligned_gradient(const Tensor& own, const Tensor& general, double lambda);

}  // namespace attune

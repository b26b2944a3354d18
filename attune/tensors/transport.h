#pragma once

#include "attune/tensors/tensor.h"

namespace attune {

/// How an optimal transport is solved: Sinkhorn's iterations as PLOT (Chen et al. 2023) does them.
struct TransportSettings {
  double epsilon = 0.1;     // weight of the plan's entropy
  int iterations = 100;     // at most
  double threshold = 1e-2;  // of the mean change of the row scales in an iteration, below which it stops
  /// All problems stop together, when the mean over all of them is below the threshold (PLOT); else each by itself, so
  /// that a plan does not depend on the problems beside it.
  bool stop_together = false;
};

/// Smallest entropy weight: with double numbers nothing under- or overflows for similarities within [-1, 1].
inline constexpr double kLeastTransportEpsilon = 0.005;

/// Plans [N, P, M] of N transports from P places to M places at the cost 1 - similarity [N, P, M], without gradients.
/// `rows` [N or 1, P] and `columns` [N or 1, M] are the masses, at least zero; those of a problem have equal sums. The
/// columns' masses are exact, the rows' as far as the iterations came. Throws Error where shapes disagree or epsilon is
/// too small.
Tensor transport_plan(const Tensor& similarity, const Tensor& rows, const Tensor& columns,
                      const TransportSettings& settings = {});

}  // namespace attune

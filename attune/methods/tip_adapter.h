#pragma once

#include <vector>

#include "attune/methods/registry.h"

namespace attune {

/// Tip-Adapter, Zhang et al. 2022, "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification" (settings
/// from its release, gaopengcuhk/Tip-Adapter): a cache of the training pictures beside the zero-shot classifier W,
///   logits = s f W^T + alpha exp(-beta (1 - f K^T)) V,
/// with f the normalised feature, K the keys (each the normalised mean of its picture's raw features in as many views
/// as there are epochs) and V their labels, one-hot. Nothing is learned; alpha and beta are the best of a grid on the
/// validation samples, where there are any.
Method tip_adapter_method();

/// Tip-Adapter-F: the keys are then learned with the cross-entropy, under the alpha and beta of the start; the grid
/// comes last.
Method tip_adapter_f_method();

/// The values of the grid: 0.1 + i (scale - 0.1) / steps for i = 0 .. steps - 1.
std::vector<double> search_values(double scale, int steps);

}  // namespace attune

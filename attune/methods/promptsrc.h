#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// PromptSRC (Khattak et al. 2023, "Self-regulating Prompts"): independent prompts of both towers that are kept near
/// the frozen model's features and answers, and averaged over the epochs with Gaussian weights.
Method promptsrc_method();

/// Weights of the epochs 1..epochs in the average of prompts: a Gaussian of the epoch, normalised to the sum 1
/// (section 3.2.2 there).
std::vector<double> epoch_weights(int epochs, double mean, double deviation);

}  // namespace attune

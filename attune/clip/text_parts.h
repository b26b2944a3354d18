#pragma once

#include "attune/clip/text_tower.h"

namespace attune {

/// encode_text for `classes` classes at a time, so that memory does not grow with their number: no graph of the tower
/// is kept, the backward computes the features of each part again (a third more work) and frees them before the next.
/// Gradients reach prefix, suffix and tuning as in encode_text, equal up to rounding. Masks of dropout are drawn for
/// each part.
Tensor encode_text_in_parts(const TextConfig& config, const TextWeights<FrozenLinear>& weights, const Prompts& prompts,
                            const Tuning& tuning, std::int64_t classes);

/// Whether any tensor of a call asks for a gradient.
bool wants_gradients(Prompts prompts, Tuning tuning);

}  // namespace attune

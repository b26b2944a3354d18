#pragma once

#include <functional>

#include "attune/methods/context.h"

namespace attune {

/// Logits [B, C] of pictures that have a context each, without gradients, so many at once that memory stays small.
/// `contexts_of` turns features [b, d], on the model's device, into contexts [b, M, width].
Tensor logits_by_image(const ClipModel& model, const ContextPrompts& prompts, const Tensor& image_features,
                       const std::function<Tensor(const Tensor&)>& contexts_of);

}  // namespace attune

#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// ConES, "Concept Embedding Search", for classification: the output of the text tower is searched for instead of its
/// input. A class has one embedding E_c [d] in the joint space,
///   logits s <f / |f|, E_c / |E_c|>,  loss = -log softmax_y,
/// and no step runs the text tower. The paper searches for detection, segmentation and generation; this form is an
/// adaptation (inferred), a cosine classifier that starts from the text features.
Method cones_method();

}  // namespace attune

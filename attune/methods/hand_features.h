#pragma once

#include <string>

#include "attune/base/config.h"
#include "attune/methods/learner.h"

namespace attune {

/// The key `templates` of the methods that use hand-written sentences.
Key templates_key();

/// Text features [C, d] of class names in hand-written sentences, of unit length: the normalised features of every
/// template, averaged and normalised again. `choice` is the value of `templates`: single (the data set's own), the name
/// of an ensemble, to which the data set's own is appended (CoOp's rule), or one template.
Tensor hand_features(const ClipModel& model, const ClassNames& classes, const std::string& choice);

}  // namespace attune

#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// Zero-shot CLIP: class features from hand-written templates, nothing is learned. An ensemble normalises each
/// template's text feature, averages over the templates and normalises again (methods of Radford et al. 2021).
Method zero_shot_method();

}  // namespace attune

#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// VP (Bahng et al. 2022): learned pixels that are added to the preprocessed picture; text and towers stay frozen.
Method visual_prompt_method();

}  // namespace attune

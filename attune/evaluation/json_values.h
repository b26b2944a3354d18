#pragma once

#include "attune/base/json.h"

namespace attune {

/// A number; null where it is none, which JSON cannot say.
Json number_or_null(double value);

}  // namespace attune

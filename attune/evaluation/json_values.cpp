#include "attune/evaluation/json_values.h"

#include <cmath>

namespace attune {

Json number_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

}  // namespace attune

#pragma once

#include <cstdint>
#include <string_view>

#include "attune/base/json.h"

namespace attune {

/// The member `key` of an object, an integer that is at least `low`. Throws Error that names `where` and the key.
std::int64_t count_at(const Json& object, std::string_view key, std::string_view where, std::int64_t low = 0);

}  // namespace attune

#pragma once

#include <cstdint>
#include <string>

#include "attune/base/json.h"

namespace attune {

/// A positive integer member that is small enough to multiply without overflow; `where` names the file in errors.
std::int64_t read_count(const Json& object, const char* key, std::int64_t otherwise, const std::string& where);

/// Throws Error that names `where` unless `heads` divide `width`.
void check_heads(std::int64_t width, std::int64_t heads, const std::string& where);

}  // namespace attune

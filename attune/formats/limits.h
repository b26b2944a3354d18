#pragma once

#include <cstdint>

namespace attune {

/// Largest JSON configuration of a model folder that is read, bytes.
inline constexpr std::uint64_t kConfigLimit = 16 << 20;

}  // namespace attune

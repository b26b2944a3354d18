#pragma once

#include <cstdint>
#include <functional>

#include "attune/base/log.h"

namespace attune {

/// Calls `work(i)` for i in 0..count-1 on `threads` threads (the caller's included) and waits for all. The first
/// exception stops the rest and is thrown again; a request to stop is thrown as an Error. `progress` is updated from
/// the calling thread. Throws UsageError where threads < 1.
void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work,
                  Progress* progress = nullptr);

}  // namespace attune

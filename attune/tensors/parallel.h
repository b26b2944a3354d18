#pragma once

#include <cstdint>
#include <functional>

namespace attune {

/// Runs part(0) ... part(count - 1), each once, on the threads that set_threads chose; inside a part, tensor operations
/// stay on its thread. Work that is cut into a few large parts needs one meeting of the threads where tensor operations
/// that are cut one by one need hundreds, which a busy machine makes slow. Gradient mode and the like are the
/// caller's. Called inside a part it runs the parts one after the other. The first exception is thrown again.
void in_parallel(std::int64_t count, const std::function<void(std::int64_t)>& part);
/// The same for parts of together so many floating-point operations: on this thread alone where threads do not pay.
void in_parallel(std::int64_t count, double operations, const std::function<void(std::int64_t)>& part);

/// The threads that in_parallel uses at this place: 1 inside a part.
std::int64_t parallel_width();
/// The same for work of so many floating-point operations: no more threads than pay for waking and waiting.
std::int64_t parallel_width(double operations);

}  // namespace attune

#pragma once

#include <string_view>

#include "attune/tensors/tensor.h"

namespace attune {

/// "cpu", "cuda", "cuda:N", or "auto": the first GPU where there is one. Asking for a GPU that is missing is a
/// UsageError, never a slow run.
at::Device choose_device(std::string_view name);

/// "fp32", "bf16", "fp16" or "int8" as the type that a device multiplies in, see FrozenLinear. A type that the device
/// has no instructions for is a UsageError that gives the reason.
at::ScalarType choose_precision(std::string_view name, at::Device device);

/// Threads of tensor operations; 0 means all cores. Call before the first operation.
void set_threads(int count);

/// Denormal numbers become zero on this thread and those started from it: training meets them and they are slow.
void flush_denormals();

/// Lets the C library keep freed blocks instead of handing them back to the system: steps that allocate the same large
/// tensors again and again do not fault their pages in anew (2 to 5 times faster for such operations where page faults
/// are slow). For programs that run many steps; call before the first large allocation. Nothing outside glibc.
void keep_freed_memory();

}  // namespace attune

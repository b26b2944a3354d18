#include "attune/tensors/device.h"

#if defined(__linux__)
#include <malloc.h>
#endif

#include <charconv>
#include <limits>
#include <thread>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/tensors/processor.h"
#include "attune/tensors/product_kernel.h"

namespace attune {

at::Device choose_device(std::string_view name) {
  const std::int64_t count = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
  if (name == "cpu" || (name == "auto" && count == 0)) return at::kCPU;
  if (name == "auto") return {at::kCUDA, 0};
  int index = 0;
  if (name.starts_with("cuda:")) {
    const auto digits = name.substr(5);
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (problem != std::errc() || end != digits.data() + digits.size()) index = -1;
  } else if (name != "cuda") {
    index = -1;
  }
  if (index < 0) throw UsageError(fmt::format("device: expected cpu, cuda, cuda:N or auto, found '{}'", name));
  if (index >= count) {
    throw UsageError(fmt::format("device: '{}' was asked for, but {} found", name,
                                 count == 0 ? "no GPU is" : fmt::format("only {} GPU(s) are", count)));
  }
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

at::ScalarType choose_precision(std::string_view name, at::Device device) {
  if (name == "fp32") return at::kFloat;
  if (name == "int8") {
    if (device.is_cpu() && product_kernel(ProductType::kInt8) != nullptr) return at::kChar;
    throw UsageError(device.is_cpu()
                         ? "precision: int8 was asked for, but this processor has no dot products of bytes (AVX-512 "
                           "VNNI), without which it is slower than fp32"
                         : "precision: int8 is for processors with AVX-512 VNNI, the device is a GPU; use bf16");
  }
  if (name != "bf16" && name != "fp16") {
    throw UsageError(fmt::format("precision: expected fp32, bf16, fp16 or int8, found '{}'", name));
  }
  if (device.is_cuda()) return name == "bf16" ? at::kBFloat16 : at::kHalf;
  if (name == "fp16") throw UsageError("precision: fp16 is for GPUs, the device is the CPU; use fp32");
  if (processor().bf16) return at::kBFloat16;
  throw UsageError(
      "precision: bf16 was asked for, but this processor has no bf16 instructions and would be several "
      "times slower than with fp32");
}

void set_threads(int count) {
  if (count < 0) throw UsageError(fmt::format("threads: expected 0 or more, found {}", count));
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  at::set_num_threads(count == 0 ? cores : count);
}

void flush_denormals() {
  at::globalContext().setFlushDenormal(true);
}

void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 256 << 20);
#endif
}

}  // namespace attune

#include "attune/tensors/processor.h"

#include "attune/tensors/product_kernel.h"
#include "attune/tensors/sequence_kernel.h"

#if !defined(ATTUNE_PORTABLE)
#include <cpuid.h>
#endif

namespace attune {

const Processor& processor() {
#if defined(ATTUNE_PORTABLE)
  static const Processor kFound;
#else
  static const Processor kFound = [] {
    __builtin_cpu_init();
    Processor found;
    found.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    found.avx512 = found.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    found.bf16 = found.avx512 && __builtin_cpu_supports("avx512bf16");
    found.int8 = found.avx512 && __builtin_cpu_supports("avx512vnni");
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;  // no name in __builtin_cpu_supports of every compiler
    found.amx_bf16 = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> 22 & 1U) != 0;
    return found;
  }();
#endif
  return kFound;
}

const ProductKernel* product_kernel([[maybe_unused]] ProductType type) {
#if !defined(ATTUNE_PORTABLE)
  const Processor& found = processor();
  if (type == ProductType::kBFloat16) return found.bf16 && !found.amx_bf16 ? &bf16_product() : nullptr;
  if (type == ProductType::kInt8) return found.int8 ? &int8_product() : nullptr;
  if (found.avx512) return &avx512_product();
  if (found.avx2) return &avx2_product();
#endif
  return nullptr;
}

const SequenceKernel* sequence_kernel() {
#if !defined(ATTUNE_PORTABLE)
  if (processor().avx2) return &avx2_sequences();
#endif
  return nullptr;
}

}  // namespace attune

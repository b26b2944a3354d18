#include "attune/base/error.h"
#include "attune/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::map<std::string, attune::TensorView> tensors;
  std::map<std::string, std::string> metadata;
  try {
    attune::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz", tensors, metadata);
  } catch (const attune::Error&) {
    return 0;
  }
  std::size_t total = 0;
  unsigned sum = 0;
  for (const auto& [name, tensor] : tensors) {
    total += tensor.bytes.size();
    for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
  }
  // Tensors lie side by side within the file.
  if (total > size || sum > 255 * size) __builtin_trap();
  return 0;
}

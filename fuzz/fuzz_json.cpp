#include "attune/base/error.h"
#include "attune/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attune::Json value;
  try {
    value = attune::parse_json(text, "fuzz");
  } catch (const attune::Error&) {
    return 0;
  }
  if (attune::parse_json(value.dump(), "again") != value) __builtin_trap();
  return 0;
}

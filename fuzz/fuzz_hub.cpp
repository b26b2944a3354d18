#include "attune/base/error.h"
#include "attune/formats/hub.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    for (const attune::HubFile& file : attune::files_of_model(attune::parse_hub_listing(text, "fuzz"), "fuzz")) {
      // A name becomes a path: it must stay within its folder.
      if (file.name.find('/') != std::string::npos || file.name.starts_with('.')) __builtin_trap();
    }
  } catch (const attune::Error&) {
  }
  return 0;
}

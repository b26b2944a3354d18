#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "attune/base/error.h"
#include "attune/images/svg.h"

// fontconfig keeps what it knows of fonts until the program ends.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libfontconfig";
}

// Any text gives a picture of the size that was asked for, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const attune::AlphaImage image = attune::render_svg(text, 16, 16, "input", attune::ViewBox{0, 0, 24, 24});
    if (image.rgba.size() != 16 * 16 * 4) std::abort();
  } catch (const attune::Error&) {
  }
  return 0;
}

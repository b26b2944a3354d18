#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "attune/base/error.h"
#include "attune/images/decode.h"
#include "attune/images/preprocess.h"

// Any bytes give a picture with all its pixels, which a view can be taken of, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  attune::DecodeLimits limits;
  limits.pixels = 1 << 20;
  try {
    const attune::Image image = attune::decode_image(std::as_bytes(std::span(data, size)), "input", limits);
    if (image.rgb.size() != static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3) {
      std::abort();
    }
    attune::Preprocess preprocess;
    preprocess.size = 16;
    if (attune::centre_view(image, preprocess).rgb.size() != 16 * 16 * 3) std::abort();
  } catch (const attune::Error&) {
  }
  return 0;
}

#include "attune/base/error.h"
#include "attune/data/mask.h"

// The first two bytes are the picture's sides, the rest is a segmentation in JSON or compressed runs.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::int64_t width = data[0] + 1, height = data[1] + 1;
  const std::string text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto check = [&](const attune::Mask& mask) {
    if (!mask.known()) return;
    const attune::Mask again = attune::mask_of_pixels(width, height, attune::pixels_of(mask));
    if (again.area() != mask.area() || attune::parse_compressed(width, height, compressed(mask), "fuzz") != mask) {
      __builtin_trap();
    }
    if (mask.area() > 0 && attune::mask_overlap(mask, again, false) != 1) __builtin_trap();
  };
  try {
    check(attune::parse_compressed(width, height, text, "fuzz"));
  } catch (const attune::Error&) {
  }
  try {
    check(attune::parse_segmentation(attune::parse_json(text, "fuzz"), width, height, "fuzz"));
  } catch (const attune::Error&) {
  }
  return 0;
}

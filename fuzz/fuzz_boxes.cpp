#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/data/coco.h"
#include "attune/data/voc.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    for (const auto& object : attune::parse_voc(text, "fuzz").objects) {
      if (object.box.width <= 0 || object.box.height <= 0) __builtin_trap();
    }
  } catch (const attune::Error&) {
  }
  try {
    const attune::CocoFile file = attune::parse_coco(attune::parse_json(text, "fuzz"), "fuzz");
    for (const auto& picture : file.pictures) {
      for (const auto& label : picture.labels) {
        if (label.category < 0 || label.category >= static_cast<std::int64_t>(file.categories.size())) __builtin_trap();
      }
    }
  } catch (const attune::Error&) {
  }
  return 0;
}

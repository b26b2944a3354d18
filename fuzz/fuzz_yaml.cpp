#include "attune/base/config.h"
#include "attune/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attune::Config config({{"epochs", 50, "", {"E"}},
                         {"a.rate", 0.1, ""},
                         {"words", "", ""},
                         {"any", nullptr, ""},
                         {"list", attune::Json::array(), ""},
                         {"map", attune::Json::object(), ""}});
  try {
    config.merge_yaml(text, "fuzz");
  } catch (const attune::Error&) {
    return 0;
  }
  const std::string written = config.to_yaml();
  attune::Config again(config.schema());
  again.merge_yaml(written, "again");
  if (again.to_yaml() != written) __builtin_trap();
  return 0;
}

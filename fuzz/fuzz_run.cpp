#include <cstddef>
#include <cstdint>
#include <string_view>

#include "attune/base/error.h"
#include "attune/evaluation/results.h"
#include "attune/evaluation/training_log.h"

namespace {

void read_twice(std::string_view text) {
  for (const attune::Results& read : attune::parse_results(text, "input")) {
    const attune::Json written = attune::to_json(read);
    if (attune::to_json(attune::results_from_json(written, "again")) != written) __builtin_trap();
  }
}

}  // namespace

// What a report reads of a run. The first byte chooses the file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 'l') {
      attune::stages_of(attune::parse_training_log(text, "input"));
    } else {
      read_twice(text);
    }
  } catch (const attune::Error&) {
    // Bad input ends in an Error, and in nothing else.
  }
  return 0;
}

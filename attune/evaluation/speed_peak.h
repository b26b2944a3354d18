#pragma once

#include <optional>
#include <string>

namespace attune {

/// What this processor's multiply-add units do when nothing waits for memory.
struct PeakSpeed {
  struct Measured {
    double operations = 0;  // of floating-point numbers a second, all threads together
    int rounds = 0;         // of a thread; its fastest counts: disturbance only slows
  };
  Measured fp32;
  std::optional<Measured> bf16;  // bf16 products added up in fp32; empty: the processor has no instructions for it
  std::optional<Measured> int8;  // products of bytes added up in int32; empty likewise
  std::string instructions;      // "AVX-512", "AVX2" or "portable"
};

/// Multiply-adds in registers on the threads of in_parallel, for about `seconds` a precision.
PeakSpeed measure_peak(double seconds);

}  // namespace attune

#pragma once

#include <functional>

namespace attune {

/// How long one figure may take.
struct TimeBudget {
  int rounds = 9;       // at most
  double seconds = 20;  // no round begins later
};

/// What rounds of one piece of work took.
struct Timing {
  double milliseconds = 0;  // median
  double fastest = 0;       // milliseconds of the fastest round, the least disturbed one
  double total_ms = 0;      // of all counted rounds
  int rounds = 0;
  double operations = 0;  // floating-point operations in the matrix products of a round, the fused attention of the
                          // text tower left out
};

/// Times `work`; `prepare`, where given, runs before every round and is not timed. A first round warms up: it packs
/// weights and counts operations; only where it used up the budget is it the one that counts.
Timing time_rounds(const TimeBudget& budget, const std::function<void()>& work,
                   const std::function<void()>& prepare = nullptr);

/// Resident memory of this process in MB (2^20 bytes): now, and the most so far. Zero where the system does not tell.
double resident_megabytes();
double peak_megabytes();

}  // namespace attune

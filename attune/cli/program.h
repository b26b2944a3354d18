#pragma once

namespace attune {

/// The whole command line program: parses, runs one verb, prints errors as one line. Returns 0 where all went well, 1
/// where something failed, 2 for wrong usage, 130 after an interrupt.
int run_program(int count, char** arguments);

}  // namespace attune

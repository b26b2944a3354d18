#pragma once

namespace attune {

/// What of this process lies in memory now, in megabytes.
double resident_mb();

/// Gives what was freed back to the system, also after keep_freed_memory.
void return_freed_memory();

}  // namespace attune

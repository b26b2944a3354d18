#pragma once

namespace attune {

/// What of this process lies in memory now, in megabytes.
double resident_mb();

}  // namespace attune

#include "attune/evaluation/memory.h"

#include <fstream>
#include <unistd.h>

namespace attune {

double resident_mb() {
  std::ifstream file("/proc/self/statm");
  double whole = 0, resident = 0;
  file >> whole >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace attune

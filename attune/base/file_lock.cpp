#include "attune/base/file_lock.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/file.h>

#include "attune/base/error.h"

namespace attune {

FileLock::FileLock(int descriptor, const std::filesystem::path& path) : descriptor_(descriptor) {
  while (::flock(descriptor_, LOCK_EX) != 0) {
    if (errno != EINTR) throw Error(fmt::format("cannot lock {}: {}", path.string(), std::strerror(errno)));
  }
}

FileLock::~FileLock() {
  ::flock(descriptor_, LOCK_UN);
}

}  // namespace attune

#include "attune/base/file_lock.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

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

HeldFile::HeldFile(const std::filesystem::path& path)
    : descriptor_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) throw Error(fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  const int reason = errno;
  ::close(descriptor_);
  if (reason == EWOULDBLOCK) {
    throw UsageError(fmt::format("{}: another process is at work in this folder; wait for its end or name another one",
                                 path.string()));
  }
  throw Error(fmt::format("cannot lock {}: {}", path.string(), std::strerror(reason)));
}

HeldFile::~HeldFile() {
  ::close(descriptor_);
}

}  // namespace attune

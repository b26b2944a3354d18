#pragma once

#include <filesystem>

namespace attune {

/// An exclusive lock among processes on an open file, for as long as the object lives. Throws Error that names `path`.
class FileLock {
 public:
  FileLock(int descriptor, const std::filesystem::path& path);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  int descriptor_;
};

}  // namespace attune

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

/// Holds a file that only one process may write to, for as long as the object lives: opened, made where it is missing,
/// and locked. Throws UsageError that names `path` where another has it, without waiting.
class HeldFile {
 public:
  explicit HeldFile(const std::filesystem::path& path);
  HeldFile(const HeldFile&) = delete;
  HeldFile& operator=(const HeldFile&) = delete;
  ~HeldFile();

 private:
  int descriptor_;
};

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "attune/base/file_lock.h"
#include "attune/base/json.h"

namespace attune {

/// metrics.jsonl of a run: one JSON object a line, for every step and every epoch. A resumed run cuts the file back to
/// where its checkpoint was written and goes on from there. While it is open no other process may open it.
class RunLog {
 public:
  /// Keeps the first `keep` bytes of an existing file. Throws UsageError where another process has it open.
  RunLog(const std::filesystem::path& path, std::uint64_t keep);

  void write(const Json& line);
  /// Makes the lines durable and returns the file's length.
  std::uint64_t flush();

 private:
  std::filesystem::path path_;
  HeldFile held_;
  std::ofstream out_;
};

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "attune/base/json.h"

namespace attune {

/// metrics.jsonl of a run: one JSON object a line, for every step and every epoch. A resumed run cuts the file back to
/// where its checkpoint was written and goes on from there.
class RunLog {
 public:
  /// Keeps the first `keep` bytes of an existing file.
  RunLog(const std::filesystem::path& path, std::uint64_t keep);

  void write(const Json& line);
  /// Makes the lines durable and returns the file's length.
  std::uint64_t flush();

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace attune

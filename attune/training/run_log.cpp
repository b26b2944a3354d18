#include "attune/training/run_log.h"

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

namespace {

const std::filesystem::path& with_its_folder(const std::filesystem::path& path) {
  std::filesystem::create_directories(path.parent_path());
  return path;
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& path, std::uint64_t keep) : path_(path), held_(with_its_folder(path)) {
  if (std::filesystem::file_size(path) < keep) {
    throw Error(fmt::format("{}: expected at least the {} bytes that the checkpoint counts, found {}", path.string(),
                            keep, std::filesystem::file_size(path)));
  }
  std::filesystem::resize_file(path, keep);
  out_.open(path, std::ios::binary | std::ios::app);
  if (!out_) throw Error(fmt::format("cannot write {}", path.string()));
}

void RunLog::write(const Json& line) {
  out_ << line.dump() << '\n';
}

std::uint64_t RunLog::flush() {
  out_.flush();
  if (!out_) throw Error(fmt::format("cannot write {}", path_.string()));
  return static_cast<std::uint64_t>(out_.tellp());
}

}  // namespace attune

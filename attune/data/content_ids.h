#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace attune {

/// SHA-256 of a file's bytes: what a cached feature belongs to, wherever the file lies and whatever its name is.
using ContentId = std::array<std::uint8_t, 32>;

/// Reads the file. Throws Error that names it.
ContentId content_id(const std::filesystem::path& path);

/// An id as 64 lower-case hexadecimal digits; and back, nothing where a text is not that.
std::string hex_of(const ContentId& id);
std::optional<ContentId> content_id_of_hex(std::string_view text);

/// Content ids, remembered on disk by (path, size, time of change, inode) so that an unchanged file is read only once.
/// A file changed within the last two seconds is not remembered: a later change could carry the same time. Safe to use
/// from several threads; of two processes that flush at once one may lose what it remembered, never more.
class ContentIds {
 public:
  /// Remembers in `folder`/content-ids.jsonl; a file that cannot be parsed is remembered anew.
  explicit ContentIds(const std::filesystem::path& folder);

  /// Throws Error that names the file where it cannot be read.
  ContentId id_of(const std::filesystem::path& path);
  /// The same in lower-case hexadecimal.
  std::string hash_of(const std::filesystem::path& path);
  /// Writes what is new, beside what other processes have written since.
  void flush();

  /// Files read since the object was made.
  std::int64_t files_read() const;

 private:
  struct Known {
    std::uint64_t size = 0;
    std::int64_t changed = 0;  // nanoseconds
    std::uint64_t inode = 0;
    std::string hash;
    bool operator==(const Known&) const = default;
  };
  static std::map<std::string, Known> load(const std::filesystem::path& file);

  const std::filesystem::path file_;
  mutable std::mutex mutex_;
  std::map<std::string, Known> known_, fresh_;
  std::int64_t files_read_ = 0;
};

}  // namespace attune

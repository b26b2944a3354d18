#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// The whole of a file. Throws Error that names the path where it cannot be read or is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{1} << 30);

/// The lines of a text file, without their ends ("\n" or "\r\n"); a last line without an end counts too.
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// Writes beside `path` and renames, so that `path` holds either its former or its new content, whatever happens.
/// Missing parent folders are made.
void write_file(const std::filesystem::path& path, std::string_view content);
/// The same for content that is produced piece by piece. Nothing replaces `path` if `write` throws.
void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);

/// A file mapped read-only into memory. Movable; the bytes live as long as the object.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// SHA-256 in lower-case hexadecimal.
std::string sha256(std::span<const std::byte> bytes);
std::string sha256(std::string_view text);
std::string sha256_of_file(const std::filesystem::path& path);

/// A folder that is removed with everything in it when the object goes away.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Where Attune keeps what it can make again: $ATTUNE_CACHE, else $XDG_CACHE_HOME/attune, else ~/.cache/attune.
std::filesystem::path cache_folder();

/// The folder of what ships with the program (pocket/): $ATTUNE_MODELS, else models or share/attune/models in the
/// nearest folder above the program that has one. Throws Error where there is none.
std::filesystem::path models_folder();

}  // namespace attune

#include "attune/base/files.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "attune/base/error.h"

namespace attune {
namespace {

std::string reason() {
  return std::strerror(errno);
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

std::uint64_t regular_size(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw Error(fmt::format("cannot read {}: {}", path.string(), reason()));
  if (S_ISDIR(status.st_mode))
    throw Error(fmt::format("cannot read {}: expected a file, found a folder", path.string()));
  return static_cast<std::uint64_t>(status.st_size);
}

void flush_to_disk(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() >= 0) ::fsync(file.get());
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uint64_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw Error(fmt::format("cannot read {}: {}", path.string(), reason()));
  std::string content;
  content.reserve(std::min(regular_size(file.get(), path), limit));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(fmt::format("cannot read {}: {}", path.string(), reason()));
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
    if (content.size() > limit) {
      throw Error(fmt::format("cannot read {}: expected at most {} bytes, found more", path.string(), limit));
    }
  }
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const bool returned = end > begin && text[end - 1] == '\r';
    lines.push_back(text.substr(begin, end - begin - (returned ? 1 : 0)));
    begin = end + 1;
  }
  return lines;
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  write_file(path, [&](std::ostream& out) { out.write(content.data(), static_cast<std::streamsize>(content.size())); });
}

void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write) {
  std::error_code problem;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), problem);
  if (problem) throw Error(fmt::format("cannot write {}: {}", path.string(), problem.message()));
  std::string beside = path.string() + ".XXXXXX";
  const int descriptor = ::mkstemp(beside.data());
  if (descriptor < 0) throw Error(fmt::format("cannot write {}: {}", path.string(), reason()));
  ::fchmod(descriptor, 0644);
  ::close(descriptor);
  try {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    write(out);
    out.close();
    if (!out) throw Error(fmt::format("cannot write {}: {}", path.string(), reason()));
    flush_to_disk(beside);
    std::filesystem::rename(beside, path, problem);
    if (problem) throw Error(fmt::format("cannot write {}: {}", path.string(), problem.message()));
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw Error(fmt::format("cannot read {}: {}", path.string(), reason()));
  size_ = regular_size(file.get(), path);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw Error(fmt::format("cannot map {}: {}", path.string(), reason()));
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string sha256(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) != 1) {
    throw Error("sha256: the cryptographic library refused to compute a digest");
  }
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string sha256(std::string_view text) {
  return sha256(std::as_bytes(std::span(text)));
}

std::string sha256_of_file(const std::filesystem::path& path) {
  return sha256(MappedFile(path).bytes());
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "attune-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw Error(fmt::format("cannot make a folder {}: {}", name, reason()));
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path cache_folder() {
  if (const char* own = std::getenv("ATTUNE_CACHE"); own != nullptr && *own != 0) return own;
  if (const char* shared = std::getenv("XDG_CACHE_HOME"); shared != nullptr && *shared != 0) {
    return std::filesystem::path(shared) / "attune";
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr) throw Error("cache folder: expected one of ATTUNE_CACHE, XDG_CACHE_HOME and HOME to be set");
  return std::filesystem::path(home) / ".cache" / "attune";
}

std::filesystem::path models_folder() {
  if (const char* models = std::getenv("ATTUNE_MODELS"); models != nullptr && *models != 0) return models;
  std::error_code ignored;
  std::filesystem::path above = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (; !above.empty() && above != above.root_path(); above = above.parent_path()) {
    for (const char* models : {"models", "share/attune/models"}) {
      if (std::filesystem::is_directory(above / models / "pocket", ignored)) return above / models;
    }
  }
  throw Error(
      "shipped models: expected models/pocket or share/attune/models/pocket above the program, found neither; "
      "set ATTUNE_MODELS to the folder that holds pocket");
}

}  // namespace attune

#include "attune/data/feature_cache.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <zlib.h>

#include <fmt/format.h>
#include <sys/stat.h>

#include "attune/base/error.h"
#include "attune/base/file_lock.h"
#include "attune/base/files.h"

namespace attune {
namespace {

constexpr std::size_t kHeader = 64;
constexpr std::size_t kId = 32;
constexpr std::size_t kPendingBytes = 4U << 20;
constexpr std::int64_t kWidest = 1 << 24;
constexpr std::string_view kMagic = "ATTFEAT1";
constexpr std::string_view kEnding = ".features";

std::uint32_t checksum(const void* bytes, std::size_t count) {
  return static_cast<std::uint32_t>(::crc32(0, static_cast<const Bytef*>(bytes), static_cast<uInt>(count)));
}

std::uint64_t size_of(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

bool read_at(int descriptor, std::uint64_t offset, void* out, std::size_t count) {
  auto* to = static_cast<char*>(out);
  while (count > 0) {
    const ssize_t got = ::pread(descriptor, to, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::size_t>(got);
  }
  return true;
}

void write_at(int descriptor, std::uint64_t offset, const void* bytes, std::size_t count,
              const std::filesystem::path& path) {
  const auto* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t put = ::pwrite(descriptor, from, count, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw Error(fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
    from += put;
    offset += static_cast<std::uint64_t>(put);
    count -= static_cast<std::size_t>(put);
  }
}

std::array<std::uint8_t, kHeader> header_of(const std::string& hash, std::int64_t width) {
  std::array<std::uint8_t, kHeader> header{};
  const auto narrow = static_cast<std::uint32_t>(width);
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  std::memcpy(header.data() + 8, &narrow, sizeof narrow);
  for (std::size_t i = 0; i < kId; ++i) std::from_chars(&hash[2 * i], &hash[2 * i] + 2, header[16 + i], 16);
  const std::uint32_t sum = checksum(header.data(), kHeader - 4);
  std::memcpy(header.data() + kHeader - 4, &sum, sizeof sum);
  return header;
}

}  // namespace

FeatureCache::FeatureCache(const std::filesystem::path& folder, const std::string& model_key,
                           const std::string& view_key, std::int64_t width)
    : width_(width) {
  if (width < 1 || width > kWidest)
    throw UsageError(fmt::format("feature cache: expected a width of 1 to {}, found {}", kWidest, width));
  const std::string hash =
      sha256(fmt::format("{}:{}\n{}:{}\n{}", model_key.size(), model_key, view_key.size(), view_key, width));
  file_ = folder / (hash.substr(0, 32) + std::string(kEnding));
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw Error(fmt::format("cannot write {}: {}", file_.string(), std::strerror(errno)));
  try {
    open(header_of(hash, width));
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

FeatureCache::~FeatureCache() {
  try {
    flush();
  } catch (const Error&) {
  }
  ::close(descriptor_);
}

std::size_t FeatureCache::record_size() const {
  return kId + static_cast<std::size_t>(width_) * sizeof(float) + 4;
}

void FeatureCache::open(const std::array<std::uint8_t, kHeader>& header) {
  const FileLock lock(descriptor_, file_);
  if (size_of(descriptor_) < kHeader) {
    // New, or its maker was killed before the header was whole: nothing can follow it.
    if (::ftruncate(descriptor_, 0) != 0)
      throw Error(fmt::format("cannot write {}: {}", file_.string(), std::strerror(errno)));
    write_at(descriptor_, 0, header.data(), kHeader, file_);
  }
  std::array<std::uint8_t, kHeader> found{};
  if (!read_at(descriptor_, 0, found.data(), kHeader) || found != header) {
    throw Error(fmt::format("{}: expected a feature file of this model and view, found another header; remove the file",
                            file_.string()));
  }
  read_to_ = kHeader;
  take_in();
}

void FeatureCache::take_in() {
  const std::size_t record = record_size();
  const std::uint64_t whole = kHeader + (size_of(descriptor_) - kHeader) / record * record;
  const std::size_t at_once = std::max<std::size_t>(1, kPendingBytes / record);
  std::vector<char> buffer;
  while (read_to_ < whole) {
    const std::size_t count = std::min<std::size_t>(at_once, (whole - read_to_) / record);
    buffer.resize(count * record);
    if (!read_at(descriptor_, read_to_, buffer.data(), buffer.size())) {
      throw Error(fmt::format("cannot read {}: {}", file_.string(), std::strerror(errno)));
    }
    for (std::size_t i = 0; i < count; ++i) {
      const char* at = buffer.data() + i * record;
      std::uint32_t stated = 0;
      std::memcpy(&stated, at + record - 4, sizeof stated);
      if (checksum(at, record - 4) != stated) {
        ++damaged_;
        continue;
      }
      ContentId id;
      std::memcpy(id.data(), at, kId);
      offsets_.emplace(id, read_to_ + i * record + kId);
    }
    read_to_ += count * record;
  }
}

bool FeatureCache::get(const ContentId& id, float* out) const {
  std::uint64_t offset = 0;
  {
    const std::lock_guard lock(mutex_);
    if (const auto pending = pending_.find(id); pending != pending_.end()) {
      std::copy(pending->second.begin(), pending->second.end(), out);
      return true;
    }
    const auto known = offsets_.find(id);
    if (known == offsets_.end()) return false;
    offset = known->second;
  }
  if (!read_at(descriptor_, offset, out, static_cast<std::size_t>(width_) * sizeof(float))) {
    throw Error(
        fmt::format("cannot read {}: expected a feature at {}, found the end of the file", file_.string(), offset));
  }
  return true;
}

std::vector<std::size_t> FeatureCache::get(std::span<const ContentId> ids, float* out) const {
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!get(ids[i], out + i * static_cast<std::size_t>(width_))) missing.push_back(i);
  }
  return missing;
}

void FeatureCache::put(const ContentId& id, const float* feature) {
  const std::lock_guard lock(mutex_);
  if (offsets_.contains(id)) return;
  pending_.try_emplace(id, feature, feature + width_);
  if (pending_.size() * record_size() >= kPendingBytes) write_pending();
}

void FeatureCache::flush() {
  const std::lock_guard lock(mutex_);
  write_pending();
  if (::fdatasync(descriptor_) != 0)
    throw Error(fmt::format("cannot write {}: {}", file_.string(), std::strerror(errno)));
}

void FeatureCache::write_pending() {
  const FileLock lock(descriptor_, file_);
  take_in();
  if (size_of(descriptor_) != read_to_ && ::ftruncate(descriptor_, static_cast<off_t>(read_to_)) != 0) {
    throw Error(fmt::format("cannot write {}: {}", file_.string(), std::strerror(errno)));
  }
  const std::size_t record = record_size();
  std::vector<char> buffer;
  for (const auto& [id, feature] : pending_) {
    if (offsets_.contains(id)) continue;
    const std::size_t begin = buffer.size();
    buffer.resize(begin + record);
    std::memcpy(buffer.data() + begin, id.data(), kId);
    std::memcpy(buffer.data() + begin + kId, feature.data(), feature.size() * sizeof(float));
    const std::uint32_t sum = checksum(buffer.data() + begin, record - 4);
    std::memcpy(buffer.data() + begin + record - 4, &sum, sizeof sum);
  }
  write_at(descriptor_, read_to_, buffer.data(), buffer.size(), file_);
  take_in();
  pending_.clear();
}

std::int64_t FeatureCache::size() const {
  const std::lock_guard lock(mutex_);
  std::int64_t count = static_cast<std::int64_t>(offsets_.size());
  for (const auto& [id, feature] : pending_) count += offsets_.contains(id) ? 0 : 1;
  return count;
}

std::int64_t FeatureCache::damaged() const {
  const std::lock_guard lock(mutex_);
  return damaged_;
}

std::int64_t FeatureCache::clear(const std::filesystem::path& folder) {
  std::error_code problem;
  std::int64_t removed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem)) {
    if (!entry.path().string().ends_with(kEnding)) continue;
    if (std::filesystem::remove(entry.path(), problem)) ++removed;
  }
  return removed;
}

}  // namespace attune

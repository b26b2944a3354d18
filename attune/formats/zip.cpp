#include "attune/formats/zip.h"

#include <algorithm>
#include <utility>
#include <zlib.h>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/formats/bytes.h"

namespace attune {
namespace {

constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr std::size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20;
constexpr std::uint32_t kSeeZip64 = 0xffffffff;

using Bytes = std::span<const std::byte>;

template <class T>
T at(Bytes bytes, std::size_t offset) {
  return little_endian<T>(bytes.subspan(offset));
}

/// The sizes and the offset that stand in the zip64 field of a central entry, in this order, each only where its
/// short form says so. False where the field is missing or too short.
bool apply_zip64(Bytes extra, std::uint64_t& size, std::uint64_t& packed, std::uint64_t& offset) {
  if (size != kSeeZip64 && packed != kSeeZip64 && offset != kSeeZip64) return true;
  while (extra.size() >= 4) {
    const auto kind = at<std::uint16_t>(extra, 0);
    const std::size_t length = at<std::uint16_t>(extra, 2);
    if (length > extra.size() - 4) return false;
    if (kind == 1) {
      Bytes field = extra.subspan(4, length);
      for (std::uint64_t* value : {&size, &packed, &offset}) {
        if (*value != kSeeZip64) continue;
        if (field.size() < 8) return false;
        *value = at<std::uint64_t>(field, 0);
        field = field.subspan(8);
      }
      return true;
    }
    extra = extra.subspan(4 + length);
  }
  return false;
}

std::uint32_t checksum(Bytes bytes) {
  return static_cast<std::uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

/// Inflates a raw stream that must give exactly `size` bytes.
bool inflate_exactly(Bytes packed, std::vector<std::byte>& content, std::uint64_t size) {
  content.resize(size);
  std::byte nothing{};
  z_stream stream{};
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(size == 0 ? &nothing : content.data());
  stream.avail_out = static_cast<uInt>(size);
  const int result = ::inflate(&stream, Z_FINISH);
  ::inflateEnd(&stream);
  return result == Z_STREAM_END && stream.total_out == size && stream.avail_in == 0;
}

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {
  read_directory();
  check_overlaps();
}

void ZipArchive::read_directory() {
  constexpr std::size_t kLongestComment = 0xffff;
  const auto broken = [&](std::string_view text) { return Error(fmt::format("{}: {}", name_, text)); };
  if (bytes_.size() < kEndSize) throw broken("expected a zip archive, found too few bytes");
  std::size_t end = bytes_.size() - kEndSize;
  const std::size_t first = end - std::min(end, kLongestComment);
  while (at<std::uint32_t>(bytes_, end) != kEnd) {
    if (end-- == first) throw broken("expected a zip archive, found no end of a central directory");
  }
  std::uint64_t count = at<std::uint16_t>(bytes_, end + 10);
  std::uint64_t size = at<std::uint32_t>(bytes_, end + 12);
  std::uint64_t offset = at<std::uint32_t>(bytes_, end + 16);
  std::uint64_t limit = end;
  if (at<std::uint16_t>(bytes_, end + 4) != 0 && at<std::uint16_t>(bytes_, end + 4) != 0xffff) {
    throw broken("expected a zip archive in one part");
  }
  if (end >= kLocatorSize && at<std::uint32_t>(bytes_, end - kLocatorSize) == kLocator64) {
    const auto end64 = at<std::uint64_t>(bytes_, end - kLocatorSize + 8);
    limit = end - kLocatorSize;
    if (limit < kEnd64Size || end64 > limit - kEnd64Size || at<std::uint32_t>(bytes_, end64) != kEnd64) {
      throw broken("expected a zip64 end of the central directory within the archive");
    }
    limit = end64;
    count = at<std::uint64_t>(bytes_, end64 + 32);
    size = at<std::uint64_t>(bytes_, end64 + 40);
    offset = at<std::uint64_t>(bytes_, end64 + 48);
  }
  if (offset > limit || size > limit - offset || count > size / kCentralSize) {
    throw broken("expected the central directory within the archive");
  }
  Bytes directory = bytes_.subspan(offset, size);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (directory.size() < kCentralSize || at<std::uint32_t>(directory, 0) != kCentral) {
      throw broken(fmt::format("expected {} entries in the central directory, found {}", count, i));
    }
    const std::size_t name_length = at<std::uint16_t>(directory, 28);
    const std::size_t length =
        kCentralSize + name_length + at<std::uint16_t>(directory, 30) + at<std::uint16_t>(directory, 32);
    if (length > directory.size()) throw broken("expected a complete entry in the central directory");
    read_entry(directory.first(length), as_text(directory.subspan(kCentralSize, name_length)));
    directory = directory.subspan(length);
  }
}

void ZipArchive::read_entry(std::span<const std::byte> entry, std::string_view member) {
  const auto broken = [&](std::string_view text) {
    return Error(fmt::format("{}: member {}: {}", name_, member.substr(0, 200), text));
  };
  const auto flags = at<std::uint16_t>(entry, 8);
  const auto method = at<std::uint16_t>(entry, 10);
  std::uint64_t packed = at<std::uint32_t>(entry, 20), size = at<std::uint32_t>(entry, 24);
  std::uint64_t header = at<std::uint32_t>(entry, 42);
  const Bytes extra = entry.subspan(kCentralSize + member.size(), at<std::uint16_t>(entry, 30));
  if (!apply_zip64(extra, size, packed, header)) throw broken("expected its sizes in a zip64 field");
  if ((flags & 1) != 0) throw broken("expected no encryption");
  if (method != 0 && method != 8) throw broken(fmt::format("expected it stored or deflated, found method {}", method));
  if (bytes_.size() < kLocalSize || header > bytes_.size() - kLocalSize ||
      at<std::uint32_t>(bytes_, header) != kLocal) {
    throw broken("expected its local header within the archive");
  }
  const std::size_t name_length = at<std::uint16_t>(bytes_, header + 26);
  const std::uint64_t offset = header + kLocalSize + name_length + at<std::uint16_t>(bytes_, header + 28);
  if (offset > bytes_.size() || packed > bytes_.size() - offset)
    throw broken("expected its content within the archive");
  if (as_text(bytes_.subspan(header + kLocalSize, name_length)) != member) {
    throw broken("expected the same name in its local header");
  }
  if (method == 0 && packed != size) throw broken("expected equal sizes of a stored member");
  const ZipMember found{offset, packed, size, at<std::uint32_t>(entry, 16), method == 8};
  if (!members_.emplace(member, found).second) throw broken("expected it once, found it twice");
  headers_.emplace(member, header);
}

void ZipArchive::check_overlaps() const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [member, header] : headers_) {
    const ZipMember& found = members_.at(member);
    ranges.emplace_back(header, found.offset + found.packed);
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second)
      throw Error(fmt::format("{}: expected members that do not overlap", name_));
  }
}

std::span<const std::byte> ZipArchive::content(const std::string& member, std::vector<std::byte>& buffer) const {
  const auto found = members_.find(member);
  if (found == members_.end()) throw Error(fmt::format("{}: expected a member {}, which is missing", name_, member));
  const ZipMember& entry = found->second;
  const auto broken = [&](std::string_view text) {
    return Error(fmt::format("{}: member {}: {}", name_, member, text));
  };
  Bytes content = bytes_.subspan(entry.offset, entry.packed);
  if (entry.deflated) {
    // No deflate stream grows by more than 1032 times: larger claims are false before anything is allocated.
    if (entry.size > kLargestInflated || entry.packed > kLargestInflated || entry.size / 1032 > entry.packed) {
      throw broken(fmt::format("expected at most {} bytes once inflated, found {} from {}", kLargestInflated,
                               entry.size, entry.packed));
    }
    if (!inflate_exactly(content, buffer, entry.size)) throw broken("expected a deflate stream of the stated size");
    content = buffer;
  }
  if (checksum(content) != entry.crc) throw broken("expected content that agrees with its checksum");
  return content;
}

}  // namespace attune

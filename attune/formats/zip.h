#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace attune {

/// One member of a zip archive, as the central directory says.
struct ZipMember {
  std::uint64_t offset = 0;  // of the content in the archive
  std::uint64_t packed = 0;  // bytes in the archive
  std::uint64_t size = 0;    // bytes of the content
  std::uint32_t crc = 0;
  bool deflated = false;
};

/// A zip archive in memory (APPNOTE 6.3: stored and deflated members, zip64; no encryption, no parts). The directory is
/// checked on opening: every member lies within the archive, none overlap, no name stands twice.
class ZipArchive {
 public:
  /// A deflated member larger than this is refused.
  static constexpr std::uint64_t kLargestInflated = std::uint64_t{256} << 20;

  /// `bytes` must outlive the object; `name` is named in errors.
  ZipArchive(std::span<const std::byte> bytes, std::string name);

  const std::map<std::string, ZipMember>& members() const { return members_; }
  bool contains(const std::string& member) const { return members_.contains(member); }
  /// The content, its checksum verified: a part of the archive where the member is stored, else inflated into `buffer`.
  std::span<const std::byte> content(const std::string& member, std::vector<std::byte>& buffer) const;

 private:
  void read_directory();
  void read_entry(std::span<const std::byte> entry, std::string_view member);
  void check_overlaps() const;

  std::span<const std::byte> bytes_;
  std::string name_;
  std::map<std::string, ZipMember> members_;
  std::map<std::string, std::uint64_t> headers_;  // offset of each member's local header
};

}  // namespace attune

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attune/formats/pickle.h"
#include "attune/formats/torch_archive.h"
#include "attune/formats/zip.h"

namespace attune {

/// What the persistent id of a storage says: ("storage", class, key, device, element count[, view]).
struct StorageId {
  std::optional<DType> type;  // empty: untyped, counted in bytes
  std::string class_name;
  std::string key;
  std::uint64_t count = 0;
  /// The part of an older archive's storage that is meant: first element and count.
  std::uint64_t view_begin = 0;
  std::optional<std::uint64_t> view_count;
};

/// The id in a persistent value of the pickle, or nothing where it is something else.
std::optional<StorageId> storage_id(const Pickle& pickle, const PickleValue& value);

/// The type that "torch.HalfStorage" or "torch.float16" stand for.
std::optional<DType> torch_type(std::string_view name);

/// Where the bytes of an archive's storages are.
class StorageBytes {
 public:
  virtual ~StorageBytes() = default;
  /// The bytes of a whole storage. Throws Error where it is missing.
  virtual std::span<const std::byte> find(const StorageId& id) = 0;
};

/// Members ROOT/data/KEY of a zip archive.
class ZipStorages : public StorageBytes {
 public:
  ZipStorages(const ZipArchive& zip, std::string root) : zip_(zip), root_(std::move(root)) {}
  std::span<const std::byte> find(const StorageId& id) override;

 private:
  const ZipArchive& zip_;
  std::string root_;
  std::map<std::string, std::span<const std::byte>> found_;
  std::map<std::string, std::vector<std::byte>> inflated_;
};

/// The end of an archive of the older form: for each key that its last pickle lists, a count and the elements.
class SequentialStorages : public StorageBytes {
 public:
  /// `bytes` begins with the pickle of the keys; the types are those that `pickle` asks for.
  SequentialStorages(std::span<const std::byte> bytes, const Pickle& pickle, std::string_view name);
  std::span<const std::byte> find(const StorageId& id) override;

 private:
  std::string name_;
  std::map<std::string, std::span<const std::byte>> found_;
};

/// The tensor that a function of torch._utils would rebuild from these arguments. `where` names archive and tensor in
/// errors; more than `limit` bytes are refused before they are allocated.
ArchiveTensor rebuild_tensor(const Pickle& pickle, std::string_view function, const PickleValue& arguments,
                             StorageBytes& storages, std::uint64_t limit, const std::string& where);

}  // namespace attune

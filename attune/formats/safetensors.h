#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "attune/base/files.h"

namespace attune {

enum class DType { kBool, kU8, kI8, kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kF64, kI64, kU64 };
std::size_t bytes_of(DType type);
/// The name in a safetensors header, such as "F32".
std::string_view name_of(DType type);

/// A tensor as it lies in a file: row-major, little-endian. The bytes belong to somebody else.
struct TensorView {
  DType type = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// A safetensors file, mapped into memory. Every offset is checked against the file on opening: no holes, no overlaps,
/// sizes that agree with shapes, string metadata only. Errors name the file and the tensor.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// Throws Error that names the tensor and the file where it is missing.
  const TensorView& at(const std::string& name) const;
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// The header of a safetensors file that lies in memory, checked as above; `name` is named in errors.
void parse_safetensors(std::span<const std::byte> bytes, std::string_view name,
                       std::map<std::string, TensorView>& tensors, std::map<std::string, std::string>& metadata);

/// Writes atomically; data aligned to 8 bytes, larger types first, then by name, as the reference implementation does.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace attune

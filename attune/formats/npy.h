#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "attune/formats/safetensors.h"

namespace attune {

/// Writes a tensor as NumPy's .npy, version 1.0, row-major, little-endian. Atomic. Types that NumPy lacks (BF16) are
/// errors, as is a shape that does not agree with the bytes.
void write_npy(const std::filesystem::path& path, const TensorView& tensor);
void write_npy(const std::filesystem::path& path, std::span<const float> values,
               const std::vector<std::int64_t>& shape);
void write_npy(const std::filesystem::path& path, std::span<const std::int64_t> values,
               const std::vector<std::int64_t>& shape);

/// A .npy file, mapped into memory: versions 1.0 to 3.0, row-major, little-endian, numbers and booleans only.
class NpyFile {
 public:
  explicit NpyFile(const std::filesystem::path& path);
  const TensorView& tensor() const { return tensor_; }

 private:
  MappedFile file_;
  TensorView tensor_;
};

/// The same for bytes in memory, to which the view refers; `name` is named in errors.
TensorView parse_npy(std::span<const std::byte> bytes, std::string_view name);

}  // namespace attune

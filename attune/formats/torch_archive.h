#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/json.h"
#include "attune/formats/safetensors.h"

namespace attune {

/// A tensor of an archive, row-major and little-endian whatever its strides were.
struct ArchiveTensor {
  DType type = DType::kF32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;

  TensorView view() const { return {type, shape, bytes}; }
};

/// What torch.save or torch.jit.save wrote, flattened: nested dictionaries, lists and modules give dotted names, such
/// as "state_dict.prompt_learner.ctx" or "visual.conv1.weight". Nothing inside is executed.
struct TorchArchive {
  std::map<std::string, ArchiveTensor> tensors;
  /// Numbers, texts, booleans and nulls beside the tensors.
  std::map<std::string, Json> values;
  /// Objects that are neither: name and the class or function that the archive asks for. Never called.
  std::map<std::string, std::string> inert;
};

/// Reads the zip form (since PyTorch 1.6), TorchScript archives, and the older form of a sequence of pickles. Throws
/// Error that names the file, and the tensor where one is at fault, for anything that is broken, out of bounds or of a
/// type that no safetensors file can hold. All tensors together may take at most four times the size of the file (views
/// may share a storage) and 16 MiB.
TorchArchive read_torch_archive_fully(const std::filesystem::path& path);
TorchArchive parse_torch_archive(std::span<const std::byte> bytes, std::string_view name);

/// Its tensors alone.
std::map<std::string, ArchiveTensor> read_torch_archive(const std::filesystem::path& path);

}  // namespace attune

#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "attune/formats/safetensors.h"

namespace attune {

/// The tensors of a model folder: one safetensors file, or the shards that `STEM.safetensors.index.json` lists (its
/// member "weight_map" gives the shard of each tensor). The files stay mapped as long as the object lives.
class TensorSource {
 public:
  /// `path`: a safetensors file, an index file, or a folder that holds STEM.safetensors or its index. Throws Error that
  /// names what is missing, also where a shard lacks a tensor that the index promises. A shard stands beside its index:
  /// other paths are refused.
  explicit TensorSource(const std::filesystem::path& path, std::string_view stem = "model");

  bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// Throws Error that names the tensor and the source where it is missing.
  const TensorView& at(const std::string& name) const;
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  /// The metadata of the file, or of the first shard.
  const std::map<std::string, std::string>& metadata() const { return files_.front().metadata(); }
  /// The file, or the index.
  const std::filesystem::path& path() const { return path_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  void open_shards();

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "attune/tensors/tensor.h"

namespace attune {

/// Domain features that were computed elsewhere: a safetensors file with a tensor "features" [n, width] and, as
/// `attune embed` writes it, the metadata "paths": a JSON list of the n pictures, absolute or relative to the data's
/// folder. Without "paths" row i belongs to picture i.
class DomainFeatures {
 public:
  /// Throws Error that names the file where a row is missing, doubled or not finite.
  explicit DomainFeatures(const std::filesystem::path& path);

  std::int64_t size() const { return features_.size(0); }
  std::int64_t width() const { return features_.size(1); }
  bool has_paths() const { return !rows_.empty(); }
  const Tensor& features() const { return features_; }  // [n, width] fp32
  /// SHA-256 of the file.
  const std::string& key() const { return key_; }

  /// The feature [width] of a picture, looked up by its path relative to `root` and then as it stands. Throws Error
  /// that names file and picture where there is none.
  Tensor of(const std::filesystem::path& picture, const std::filesystem::path& root) const;

 private:
  std::filesystem::path path_;
  Tensor features_;
  std::map<std::string, std::int64_t> rows_;
  std::string key_;
};

}  // namespace attune

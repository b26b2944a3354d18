#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attune/data/content_ids.h"
#include "attune/domains/domain_model.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// Domain features that were computed before: a safetensors file with a tensor "features" [n, width] and, as `attune
/// embed` writes them, the metadata "contents" and "paths", JSON lists of the n pictures' SHA-256 and of their paths,
/// absolute or relative to the data's folder, and "encoder", the key of the model that they are from. One of the two
/// lists may be absent. A picture has one feature, whatever view of it is looked at. Thread-safe.
class DomainFeatures final : public DomainModel {
 public:
  /// Throws Error that names the file where a row is missing, doubled or not finite.
  explicit DomainFeatures(const std::filesystem::path& path);

  std::int64_t size() const { return features_.size(0); }
  std::int64_t width() const override { return features_.size(1); }
  /// Whether pictures are known by their content; else by their paths.
  bool by_content() const { return !contents_.empty(); }

  /// The feature [width] of the picture with these bytes. Throws Error that names the file and `name` where there is
  /// none.
  Tensor of(const ContentId& content, const std::filesystem::path& name) const;
  /// The feature [width] of a picture, looked up by its path relative to `root` and then as it stands. Throws Error
  /// that names file and picture where there is none.
  Tensor of(const std::filesystem::path& picture, const std::filesystem::path& root) const;

 private:
  std::filesystem::path path_;
  Tensor features_;  // [n, width] fp32
  std::map<std::string, std::int64_t> rows_;
  std::map<ContentId, std::int64_t> contents_;
};

/// Metadata of a file of features for DomainFeatures; `encoder` as DomainModel::key.
std::map<std::string, std::string> domain_features_metadata(const std::vector<std::string>& paths,
                                                            const std::vector<ContentId>& contents,
                                                            const std::string& encoder);

/// SHA-256 of what a place of a domain model holds, wherever it lies: the bytes of a file of features, or a folder's
/// weights and configuration. `hashes` as in DomainOptions. Throws Error that names what is missing.
std::string hash_of_domain_model(const std::filesystem::path& path, const std::filesystem::path& hashes = {});

/// A folder as load_domain_model reads it, or a file of features, which are pooled and tapped already. Throws Error
/// that names the path where it is neither.
std::shared_ptr<const DomainModel> open_domain_model(const std::filesystem::path& path,
                                                     const DomainOptions& options = {});

}  // namespace attune

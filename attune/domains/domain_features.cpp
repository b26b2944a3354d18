#include "attune/domains/domain_features.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/clip/weights.h"
#include "attune/domains/domain_folder.h"
#include "attune/formats/safetensors.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

std::string metadata_of(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? "" : found->second;
}

/// A list of texts in the metadata, one a row; empty where there is none.
std::vector<std::string> texts_of(const SafetensorsFile& file, const char* key, const std::string& where,
                                  std::int64_t rows) {
  const std::string text = metadata_of(file, key);
  if (text.empty()) return {};
  const Json list = parse_json(text, where);
  if (!list.is_array() || std::ssize(list) != rows) {
    throw Error(fmt::format("{}: expected a list of {} {}, one a row of 'features'", where, rows, key));
  }
  std::vector<std::string> texts;
  for (const Json& entry : list) {
    if (!entry.is_string()) throw Error(fmt::format("{}: expected {}, found something else", where, key));
    texts.push_back(entry.get<std::string>());
  }
  return texts;
}

}  // namespace

DomainFeatures::DomainFeatures(const fs::path& path)
    : DomainModel(metadata_of(SafetensorsFile(path), "encoder")), path_(path) {
  const SafetensorsFile file(path);
  const Tensor stored = borrow(file.at("features"));
  if (stored.dim() != 2 || stored.size(0) < 1 || stored.size(1) < 1 || !stored.is_floating_point()) {
    throw Error(fmt::format("{}: expected 'features' to be floating-point numbers [pictures, width]", path.string()));
  }
  features_ = stored.to(at::kFloat).clone();
  if (!features_.isfinite().all().item<bool>()) {
    throw Error(fmt::format("{}: expected finite numbers in 'features'", path.string()));
  }
  const std::string paths = path.string() + ", metadata 'paths'", contents = path.string() + ", metadata 'contents'";
  for (const std::string& text : texts_of(file, "paths", paths, size())) {
    const auto name = fs::path(text).lexically_normal().generic_string();
    if (!rows_.emplace(name, std::ssize(rows_)).second) {
      throw Error(fmt::format("{}: expected every path once, found '{}' again", paths, name));
    }
  }
  std::int64_t row = 0;
  for (const std::string& text : texts_of(file, "contents", contents, size())) {
    const std::optional<ContentId> id = content_id_of_hex(text);
    if (!id) throw Error(fmt::format("{}: expected a SHA-256 of 64 hexadecimal digits, found '{}'", contents, text));
    contents_.emplace(*id, row++);  // copies of a picture have one feature
  }
  if (rows_.empty() && contents_.empty()) {
    throw Error(fmt::format(
        "{}: expected the metadata 'paths' or 'contents', which say whose features these are, found neither",
        path.string()));
  }
}

Tensor DomainFeatures::of(const ContentId& content, const fs::path& name) const {
  const auto found = contents_.find(content);
  if (found != contents_.end()) return features_[found->second];
  throw Error(fmt::format("{}: expected a feature of '{}', found none of a picture with its bytes", path_.string(),
                          name.string()));
}

Tensor DomainFeatures::of(const fs::path& picture, const fs::path& root) const {
  const auto normal = (picture.is_absolute() ? picture : root / picture).lexically_normal();
  const auto inside = normal.lexically_relative(root.lexically_normal()).generic_string();
  for (const std::string& name : {inside, normal.generic_string(), fs::absolute(normal).generic_string()}) {
    if (const auto found = rows_.find(name); found != rows_.end()) return features_[found->second];
  }
  throw Error(fmt::format("{}: expected a feature of '{}', found none", path_.string(), normal.string()));
}

std::map<std::string, std::string> domain_features_metadata(const std::vector<std::string>& paths,
                                                            const std::vector<ContentId>& contents,
                                                            const std::string& encoder) {
  Json ids = Json::array();
  for (const ContentId& id : contents) ids.push_back(hex_of(id));
  return {{"paths", Json(paths).dump()}, {"contents", ids.dump()}, {"encoder", encoder}};
}

std::string hash_of_domain_model(const fs::path& path, const fs::path& hashes) {
  if (!fs::is_directory(path)) return sha256_of_file(path);
  std::string all = hash_of_weights(domain_weights(path), hashes);
  for (const char* name : {"config.json", "preprocessor_config.json"}) {
    if (fs::exists(path / name)) all += sha256_of_file(path / name);
  }
  return sha256(all);
}

std::shared_ptr<const DomainModel> open_domain_model(const fs::path& path, const DomainOptions& options) {
  if (!fs::exists(path)) {
    throw Error(
        fmt::format("{}: expected the folder of a domain model or a file of features, found none", path.string()));
  }
  if (!fs::is_directory(path)) return std::make_shared<const DomainFeatures>(path);
  if (!fs::exists(path / "config.json") && fs::exists(path / "model" / "config.json")) {
    throw Error(fmt::format("{}: expected the folder of a domain model, found a run; its model is {}", path.string(),
                            (path / "model").string()));
  }
  return load_domain_model(path, options);
}

}  // namespace attune

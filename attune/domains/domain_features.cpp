#include "attune/domains/domain_features.h"

#include <vector>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/formats/safetensors.h"

namespace attune {

DomainFeatures::DomainFeatures(const std::filesystem::path& path) : path_(path) {
  const SafetensorsFile file(path);
  const TensorView& view = file.at("features");
  const Tensor stored = borrow(view);
  if (stored.dim() != 2 || stored.size(0) < 1 || stored.size(1) < 1 || !stored.is_floating_point()) {
    throw Error(fmt::format("{}: expected 'features' to be floating-point numbers [pictures, width]", path.string()));
  }
  features_ = stored.to(at::kFloat).clone();
  if (!features_.isfinite().all().item<bool>()) {
    throw Error(fmt::format("{}: expected finite numbers in 'features'", path.string()));
  }
  key_ = sha256_of_file(path);
  const auto found = file.metadata().find("paths");
  if (found == file.metadata().end()) return;
  const std::string where = path.string() + ", metadata 'paths'";
  const Json list = parse_json(found->second, where);
  if (!list.is_array() || std::ssize(list) != size()) {
    throw Error(fmt::format("{}: expected a list of {} paths, one a row of 'features'", where, size()));
  }
  for (const Json& entry : list) {
    if (!entry.is_string()) throw Error(where + ": expected paths, found something else");
    const auto name = std::filesystem::path(entry.get<std::string>()).lexically_normal().generic_string();
    if (!rows_.emplace(name, std::ssize(rows_)).second) {
      throw Error(fmt::format("{}: expected every path once, found '{}' again", where, name));
    }
  }
}

Tensor DomainFeatures::of(const std::filesystem::path& picture, const std::filesystem::path& root) const {
  const auto normal = (picture.is_absolute() ? picture : root / picture).lexically_normal();
  const auto inside = normal.lexically_relative(root.lexically_normal()).generic_string();
  for (const std::string& name : {inside, normal.generic_string()}) {
    if (const auto found = rows_.find(name); found != rows_.end()) return features_[found->second];
  }
  throw Error(fmt::format("{}: expected a feature of '{}', found none", path_.string(), inside));
}

}  // namespace attune

#include "attune/methods/method_files.h"

#include <array>

#include "attune/base/files.h"
#include "attune/domains/domain_features.h"

namespace attune {
namespace {

/// Keys, of whichever method has them, whose values name a file or an adapter.
constexpr std::array<const char*, 2> kFileKeys = {"descriptions", "labels.from"};

/// Not among them: it is no part of an adapter, and its place is looked for from where the program runs.
constexpr const char* kDomainModel = "domain.model";

std::string hash_of(const std::filesystem::path& named) {
  return sha256_of_file(std::filesystem::is_directory(named) ? named / "adapter_model.safetensors" : named);
}

}  // namespace

void for_each_named_file(Json& config, const std::function<void(const std::string& key, Json& value)>& change) {
  for (const char* key : kFileKeys) {
    const auto value = config.find(key);
    if (value != config.end() && value->is_string() && *value != "") change(key, *value);
  }
}

void locate_files(Config& config, const std::filesystem::path& folder) {
  Json named = config.to_json();
  for_each_named_file(named, [&](const std::string& key, Json& value) {
    const std::filesystem::path file = value.get<std::string>();
    if (file.is_absolute()) return;
    config.set(key, Json(std::filesystem::absolute(folder / file).lexically_normal().string()), key);
  });
}

Config with_file_contents(Config config, const std::filesystem::path& hashes) {
  Json named = config.to_json();
  for_each_named_file(named, [&](const std::string& key, Json& value) {
    config.set(key, Json(hash_of(value.get<std::string>())), key);
  });
  if (config.has(kDomainModel) && !config.text(kDomainModel).empty()) {
    config.set(kDomainModel, Json(hash_of_domain_model(config.text(kDomainModel), hashes)), kDomainModel);
  }
  return config;
}

}  // namespace attune

#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "attune/base/json.h"
#include "attune/methods/registry.h"

namespace attune {

/// What adapter_config.json says of a learned prompt.
struct AdapterInfo {
  std::string method;
  Json config;              // the method's configuration, key by key
  std::string base_model;   // name, for people
  std::string weight_hash;  // SHA-256 of the base model's weights
  ClassNames classes;       // that it was trained on
  std::string dataset;
  std::string split_hash;
  std::uint64_t seed = 1;
  Json metrics;  // measured when it was made; may be null
  std::string version;
};

/// Writes adapter_config.json, adapter_model.safetensors and copies of the files that the configuration names.
void save_adapter(const std::filesystem::path& folder, const AdapterInfo& info, const Learner& learner);

/// Reads adapter_config.json; copies of files are found beside it. Throws Error that names the file and the member.
AdapterInfo read_adapter_info(const std::filesystem::path& folder);

/// The tensors of an adapter, named by role.
TensorMap read_adapter_tensors(const std::filesystem::path& folder);

/// A classifier of the adapter's method and configuration with the given tensors, bound to the adapter's classes.
/// `where` is named in errors. The base model is not compared.
std::unique_ptr<Classifier> make_adapter(const AdapterInfo& info, const TensorMap& tensors,
                                         std::shared_ptr<const ClipModel> model, const std::string& where);

/// An adapter ready for use with `model`, bound to the classes that it was trained on. Throws Error that names both
/// hashes where the adapter was made for another base model. `domain_model` stands for the place of the domain model
/// that the adapter remembers; empty: that place. UsageError where the adapter was learned without one.
std::unique_ptr<Classifier> load_adapter(const std::filesystem::path& folder, std::shared_ptr<const ClipModel> model,
                                         const std::string& domain_model = "");

}  // namespace attune

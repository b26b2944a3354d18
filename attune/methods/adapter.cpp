#include "attune/methods/adapter.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/methods/method_files.h"

namespace attune {
namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kWeightsFile = "adapter_model.safetensors";

/// Copies the files that a configuration names beside the adapter: the configuration with the copies' names.
Json with_copies(const std::filesystem::path& folder, const AdapterInfo& info) {
  Json config = info.config;
  for_each_named_file(config, [&](const std::string& key, Json& value) {
    const std::filesystem::path file = value.get<std::string>();
    if (!std::filesystem::is_regular_file(file)) return;
    const std::string copy = key + file.extension().string();
    write_file(folder / copy, read_file(file));
    value = copy;
  });
  return config;
}

/// The adapter with another place of its domain model.
AdapterInfo with_domain_model(AdapterInfo info, const std::string& domain_model, const std::filesystem::path& folder) {
  const auto found = info.config.find("domain.model");
  if (found == info.config.end() || *found == "") {
    throw UsageError(fmt::format("--domain-model: expected an adapter that was learned with a domain model; {} was not",
                                 folder.string()));
  }
  *found = domain_model;
  return info;
}

}  // namespace

void save_adapter(const std::filesystem::path& folder, const AdapterInfo& info, const Learner& learner) {
  save_tensors(folder / kWeightsFile, learner.state(), {{"format", "pt"}, {"method", info.method}});
  write_json(folder / kConfigFile, {{"peft_type", "ATTUNE"},
                                    {"method", info.method},
                                    {"config", with_copies(folder, info)},
                                    {"base_model_name_or_path", info.base_model},
                                    {"base_model_sha256", info.weight_hash},
                                    {"classes", info.classes.names},
                                    {"template", info.classes.prompt_template},
                                    {"dataset", info.dataset},
                                    {"split_sha256", info.split_hash},
                                    {"seed", info.seed},
                                    {"metrics", info.metrics},
                                    {"attune_version", info.version}});
}

AdapterInfo read_adapter_info(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kConfigFile;
  if (!std::filesystem::exists(path)) {
    throw Error(fmt::format("adapter {}: expected a folder with {}, found none", folder.string(), kConfigFile));
  }
  const Json json = read_json(path);
  const std::string where = path.string();
  AdapterInfo info;
  info.method = json_at<std::string>(json, "method", where);
  info.config = json_at<Json>(json, "config", where);
  info.base_model = json_at<std::string>(json, "base_model_name_or_path", where);
  info.weight_hash = json_at<std::string>(json, "base_model_sha256", where);
  info.classes.names = json_at<std::vector<std::string>>(json, "classes", where);
  info.classes.prompt_template = json_at<std::string>(json, "template", where);
  info.dataset = json_or<std::string>(json, "dataset", "", where);
  info.split_hash = json_or<std::string>(json, "split_sha256", "", where);
  info.seed = static_cast<std::uint64_t>(json_at<std::int64_t>(json, "seed", where));
  info.metrics = json_or<Json>(json, "metrics", nullptr, where);
  info.version = json_or<std::string>(json, "attune_version", "", where);
  if (!info.config.is_object()) throw Error(fmt::format("{}: expected \"config\" to be an object", where));
  for_each_named_file(info.config, [&](const std::string&, Json& value) {
    const std::filesystem::path file = value.get<std::string>();
    // A plain name: what else an adapter of a stranger names is not looked for.
    if (file == file.filename() && std::filesystem::is_regular_file(folder / file)) value = (folder / file).string();
  });
  return info;
}

TensorMap read_adapter_tensors(const std::filesystem::path& folder) {
  return load_tensors(folder / kWeightsFile);
}

std::unique_ptr<Classifier> make_adapter(const AdapterInfo& info, const TensorMap& tensors,
                                         std::shared_ptr<const ClipModel> model, const std::string& where) {
  const Method& method = find_method(info.method);
  Config config(method.schema);
  for (const auto& [key, value] : info.config.items()) config.set(key, value, where);
  std::unique_ptr<Classifier> classifier = method.make(std::move(model), info.classes, config, info.seed);
  classifier->load_state(tensors);
  return classifier;
}

std::unique_ptr<Classifier> load_adapter(const std::filesystem::path& folder, std::shared_ptr<const ClipModel> model,
                                         const std::string& domain_model) {
  AdapterInfo info = read_adapter_info(folder);
  if (!domain_model.empty()) info = with_domain_model(std::move(info), domain_model, folder);
  if (info.weight_hash != model->weight_hash()) {
    throw Error(fmt::format("adapter {}: expected the base model {} with weights {}, found {} with weights {}",
                            folder.string(), info.base_model, info.weight_hash, model->folder.string(),
                            model->weight_hash()));
  }
  return make_adapter(info, read_adapter_tensors(folder), std::move(model), (folder / kConfigFile).string());
}

}  // namespace attune

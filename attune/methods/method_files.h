#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "attune/base/config.h"

namespace attune {

/// Methods read files beside the model and the data: descriptions of classes, or the prompt labels of another adapter.
/// Calls change(key, value) for every value of a configuration, key by key, that names one.
void for_each_named_file(Json& config, const std::function<void(const std::string& key, Json& value)>& change);

/// Makes relative names absolute, as seen from `folder`.
void locate_files(Config& config, const std::filesystem::path& folder);

/// The configuration with SHA-256s of what is in the files in the place of their names: what is in a file counts as a
/// setting, where it lies does not. The same for a domain model, folder or file of features. `hashes` as in
/// DomainOptions. Throws Error that names a file that is not there.
Config with_file_contents(Config config, const std::filesystem::path& hashes = {});

}  // namespace attune

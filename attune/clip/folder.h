#pragma once

#include <filesystem>

#include "attune/base/json.h"
#include "attune/clip/config_members.h"
#include "attune/clip/model.h"

namespace attune {

/// What the JSON files of a model folder say.
struct FolderDescription {
  ClipConfig config;
  Preprocess preprocess;
  bool open_clip = false;
};

/// Reads config.json and preprocessor_config.json (Hugging Face, with transformers' defaults for absent keys) or
/// open_clip_config.json, whichever is there. Throws Error that names the file and the key where something is missing,
/// of the wrong type, or asks for an architecture that is not CLIP's.
FolderDescription describe_folder(const std::filesystem::path& folder);

// Members of the JSON files of Hugging Face folders, checked; `where` names the file in errors.

/// A section of config.json; the older "<name>_dict" overrides it, as in transformers.
Json config_section(const Json& config, const std::string& name, const std::string& where);
/// The towers of a section, with transformers' defaults for a CLIP.
TextConfig read_text_config(const Json& json, const std::string& where);
VisionConfig read_vision_config(const Json& json, const std::string& where);

/// "quick_gelu" or "gelu".
Activation activation_named(const std::string& name, const std::string& where);
/// A side given as 224, {"shortest_edge": 224} or {"height": 224, "width": 224}.
std::int64_t read_side(const Json& json, const char* key, std::int64_t otherwise, const std::string& where);
/// Three numbers; `values` stays where the member is absent.
void read_colours(const Json& json, const char* key, std::array<float, 3>& values, const std::string& where);

}  // namespace attune

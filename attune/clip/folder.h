#pragma once

#include <filesystem>

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

}  // namespace attune

#pragma once

#include <filesystem>
#include <string>

#include "attune/data/listing.h"

namespace attune {

/// The pictures of a folder `class/*`, `split/class/*`, `domain/class/*` or `domain/split/class/*`, in byte order of
/// their paths; `layout` receives which of them it is. The first level is splits where all its names are names of
/// splits, else domains. Where a domain has a part `full` (VLCS), `full` is its training part and `test` its test
/// part. Files that are not JPEG, PNG or WebP by name are counted in the notes; hidden ones are passed over.
/// Throws Error on a class without pictures and on folders that mix levels, naming the folder.
Listing list_folder(const std::filesystem::path& root, std::string& layout);

/// Whether a file is a picture by the end of its name: .jpg, .jpeg, .png or .webp in any case.
bool is_picture_name(std::string_view name);

/// Names of the folders or files in `folder`, hidden ones left out, in byte order.
struct FolderContent {
  std::vector<std::string> folders, files;
};
FolderContent read_folder(const std::filesystem::path& folder);

}  // namespace attune

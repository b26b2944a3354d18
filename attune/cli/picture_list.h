#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace attune {

/// Picture files from the words of a command line: files, folders (every JPEG, PNG and WebP below them, in byte order),
/// and "-" for a list on standard input, one path a line. Throws Error that names what is missing or empty.
std::vector<std::filesystem::path> list_pictures(const std::vector<std::string>& words);

}  // namespace attune

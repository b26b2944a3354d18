#pragma once

#include <string>
#include <vector>

#include "attune/data/dataset.h"

namespace attune {

/// Pictures without labels, by absolute path, from the words of a command line: files, folders (every JPEG, PNG and
/// WebP below them, in byte order), and "-" for a list on standard input, one path a line. Throws Error that names what
/// is missing or empty.
std::vector<Sample> list_pictures(const std::vector<std::string>& words);

}  // namespace attune

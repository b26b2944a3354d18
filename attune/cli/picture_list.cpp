#include "attune/cli/picture_list.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

bool is_picture(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  static const std::set<std::string> kEndings = {".jpg", ".jpeg", ".png", ".webp"};
  return kEndings.contains(ending);
}

}  // namespace

std::vector<Sample> list_pictures(const std::vector<std::string>& words) {
  std::vector<std::filesystem::path> pictures;
  for (const std::string& word : words) {
    if (word == "-") {
      for (std::string line; std::getline(std::cin, line);) {
        if (!line.empty()) pictures.emplace_back(line);
      }
    } else if (std::filesystem::is_directory(word)) {
      const auto first = static_cast<std::ptrdiff_t>(pictures.size());
      for (const auto& entry : std::filesystem::recursive_directory_iterator(word)) {
        if (entry.is_regular_file() && is_picture(entry.path())) pictures.push_back(entry.path());
      }
      if (static_cast<std::ptrdiff_t>(pictures.size()) == first) {
        throw Error(fmt::format("{}: expected JPEG, PNG or WebP files in this folder, found none", word));
      }
      std::sort(pictures.begin() + first, pictures.end());
    } else if (std::filesystem::exists(word)) {
      pictures.emplace_back(word);
    } else {
      throw Error(fmt::format("cannot read {}: no such file or folder", word));
    }
  }
  if (pictures.empty()) throw Error("pictures: expected at least one path, found none");
  std::vector<Sample> samples(pictures.size());
  for (std::size_t i = 0; i < pictures.size(); ++i) samples[i].path = std::filesystem::absolute(pictures[i]);
  return samples;
}

}  // namespace attune

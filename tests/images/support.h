#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "attune/base/files.h"
#include "attune/images/image.h"
#include "tests/support/error_of.h"

namespace attune {

inline std::filesystem::path test_data() {
  return ATTUNE_TEST_DATA;
}

/// The noise of make.py: the top byte of a linear congruential generator.
inline Image noise(int width, int height, std::uint32_t seed) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (std::uint8_t& value : image.rgb) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<std::uint8_t>(seed >> 24);
  }
  return image;
}

template <class T>
std::string digest(const std::vector<T>& values) {
  return sha256(std::as_bytes(std::span(values)));
}
inline std::string digest(const Image& image) {
  return digest(image.rgb);
}

/// The lines of a file of expected values, each split at its spaces.
inline std::vector<std::vector<std::string>> expected_lines(const std::string& file) {
  std::vector<std::vector<std::string>> lines;
  std::istringstream text(read_file(test_data() / file));
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::vector<std::string>& fields = lines.emplace_back();
    for (std::string word; words >> word;) fields.push_back(word);
  }
  return lines;
}

}  // namespace attune

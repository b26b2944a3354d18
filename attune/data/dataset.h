#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace attune {

/// One labelled picture.
struct Sample {
  std::filesystem::path path;  // absolute, or relative to the dataset's root
  std::int64_t label = 0;      // index into Dataset::classes
  std::int64_t domain = 0;     // index into Dataset::domains
  std::string concept_name;    // what is drawn, where a benchmark tells (emoji-dg); else empty
};

/// Pictures with classes and domains, divided into the parts that its layout knows. A layout without parts puts
/// everything into `all` and leaves the division to `divide` (data/splits.h).
struct Dataset {
  std::string name;
  std::filesystem::path root;
  std::vector<std::string> classes;
  std::vector<std::string> domains;  // one empty name where the layout has no domains
  std::vector<Sample> train, val, test;
  std::string prompt_template = "a photo of a {}.";  // the dataset's own template

  std::filesystem::path path_of(const Sample& sample) const {
    return sample.path.is_absolute() ? sample.path : root / sample.path;
  }
};

}  // namespace attune

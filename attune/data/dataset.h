#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// One labelled picture.
struct Sample {
  std::filesystem::path path;  // absolute, or relative to the dataset's root
  std::int64_t label = 0;      // index into Dataset::classes
  std::int64_t domain = 0;     // index into Dataset::domains
  std::string concept_name;    // what is drawn, where a benchmark tells (emoji-dg); else empty
  bool held_out = false;       // the concept belongs to those that no pre-training has drawn (emoji-dg)
  std::string caption;         // a sentence about the picture, where the layout has one; else empty

  friend bool operator==(const Sample&, const Sample&) = default;
};

/// Pictures with classes and domains, divided into the parts that its layout knows. A layout without parts puts
/// everything into `all` and leaves the division to `divide` (data/splits.h).
struct Dataset {
  std::string name;
  std::filesystem::path root;
  std::vector<std::string> classes;
  std::vector<std::string> domains;  // one empty name where the layout has no domains
  std::vector<Sample> train, val, test;
  std::vector<Sample> all;                           // filled only where the layout has no parts
  std::string prompt_template = "a photo of a {}.";  // the dataset's own template
  std::string layout;                                // what was recognised, in words
  std::vector<std::string> notes;                    // what a user should know: ignored files, missing shots

  std::filesystem::path path_of(const Sample& sample) const {
    return sample.path.is_absolute() ? sample.path : root / sample.path;
  }
};

/// The samples of the part "train", "val", "test" or "all" ("all": of every part, in this order). Throws UsageError on
/// another name and where a part that was asked for by name is empty.
std::vector<Sample> samples_of(const Dataset& dataset, std::string_view part);

/// The same dataset with only the samples of the named domains; class and domain indices stay as they are. Throws
/// UsageError that lists the domains where a name is unknown.
Dataset keep_domains(Dataset dataset, const std::vector<std::string>& names);

}  // namespace attune

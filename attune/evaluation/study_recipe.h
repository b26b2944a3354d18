#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "attune/evaluation/study.h"
#include "attune/training/run_settings.h"

namespace attune {

/// What a study recipe or the command line says; what neither says is empty.
struct StudyRequest {
  /// A method as it was asked for, its settings from the weakest to the strongest.
  struct Wanted {
    std::string label;
    ConfigSources sources;
    std::string settings;               // of a study recipe, as YAML
    std::string settings_of;            // where those come from
    std::filesystem::path folder = {};  // from which they name files
  };

  std::optional<Protocol> protocol;
  std::vector<std::string> data;
  std::vector<Wanted> methods;
  std::vector<int> shots;
  std::optional<int> seeds;
  std::optional<DrawRule> draw;
  std::vector<std::string> targets;
};

/// Reads a study recipe: the keys protocol, data, shots, seeds, draw, targets (a list, or one value) and methods, a map
/// from labels to settings. The settings are the keys of the method's configuration, and `recipe`, a file of such keys,
/// named from the folder of the study recipe. The label is the method's name unless `method` or the file names one.
/// Throws UsageError that names the file and the key.
StudyRequest read_study_recipe(const std::filesystem::path& file);

/// Methods as users write them: "coop", "coop:key=value,...", "plain=coop:...". A comma before a part of the form
/// key=value whose key is no method continues the method before it.
std::vector<StudyRequest::Wanted> parse_study_methods(const std::string& text);

/// The methods with their configurations. A plain zero_shot is put in front where no method is one: it is what every
/// table begins with.
std::vector<StudyMethod> study_methods(const StudyRequest& request);

}  // namespace attune

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/data/splits.h"

namespace attune {

/// What of a data set a run uses and how much of it, as the configuration says it.
struct RunSettings {
  std::string method;
  int shots = 16;  // 0: every training sample
  DrawRule draw = DrawRule::kKeyed;
  bool shots_per_domain = false;
  std::string classes = "all";       // all, base or new
  std::vector<std::string> domains;  // trained on; empty: all

  static Schema schema();
  explicit RunSettings(const Config& config);
};

/// Where the configuration of a run comes from, the weakest first.
struct ConfigSources {
  std::filesystem::path recipe;          // YAML file; empty: none
  std::string method;                    // "NAME" or "NAME:key=value,..."; empty: the recipe's, else the default
  std::vector<std::string> assignments;  // "key=value"
  std::string assigned_by = "--set";     // named in errors
};

/// The keys of RunSettings, of the method and of TrainSettings with their values. Files that a recipe names are meant
/// from its folder. Throws UsageError that names the source of an unknown key or method.
Config run_config(const ConfigSources& sources);

/// Sets where the domain model lies. Throws UsageError that names the method where it takes none.
void set_domain_model(Config& config, const std::string& place);

/// The part of a run's configuration that belongs to its method, as an adapter records it.
Json method_config(const Config& config);

/// The data of a run: what is trained on, and what is measured.
struct RunData {
  Dataset training;            // its train and val parts are what was drawn
  std::vector<Sample> tested;  // never among those drawn
};

/// Draws a run's data. Data sets without parts are divided 50/20/30 first. Tested is the test part of all domains; of a
/// benchmark that divides concepts (emoji-dg), also the samples of seen concepts that were not drawn.
RunData draw_run_data(const Dataset& dataset, const RunSettings& settings, std::uint64_t seed);

/// The same from a split that was saved before.
RunData run_data_of_split(const Dataset& dataset, Dataset split);

/// "a, b,c" as a list; spaces around pieces and empty pieces are dropped.
std::vector<std::string> split_list(const std::string& text);

}  // namespace attune

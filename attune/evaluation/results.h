#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/json.h"
#include "attune/evaluation/measurement.h"

namespace attune {

/// Which samples were measured.
struct SplitInfo {
  std::string part;  // such as "test"
  std::string rule;  // how the parts were drawn, in words
  std::string hash;  // of the list of samples
};

/// What a reader should compare the accuracies with, such as pixel nearest neighbour: accuracy by domain and group,
/// the group "all" standing for the whole domain and the domain "all" for all samples.
struct Floors {
  std::string meaning;
  std::map<std::string, std::map<std::string, double>> acc1;
};

/// Zero-shot accuracy on classes outside the training set, without and with what was learned.
struct Forgetting {
  double before = 0;
  double after = 0;
  std::vector<std::string> classes;
};

/// One answer, for the sheet of examples.
struct Example {
  std::string path;  // absolute, or relative to the run folder
  std::string label;
  std::string predicted;
  double score = 0;  // probability of `predicted`
  std::string domain;
  bool correct = false;
};

/// What results.json holds: one evaluation of one classifier on one set of samples.
struct Results {
  std::string dataset;
  std::string model;
  std::string pretrained;  // tag or hash of the weights
  std::string task = "zeroshot_classification";
  std::string method;  // "zero-shot" where nothing was learned
  std::int64_t seed = 1;
  SplitInfo split;
  std::string fingerprint;  // of everything that the numbers depend on, where a study keeps it; else empty
  std::string version;
  std::string command;  // the command line that made it; may be empty
  Json config = Json::object();
  std::vector<std::string> classes;
  std::vector<std::string> domains;
  std::vector<std::string> source_domains;  // those trained on; empty where nothing was trained
  Measurement measured;
  std::optional<Measurement> zero_shot;  // the same samples, nothing learned; confusion and reliability may be empty
  std::optional<Floors> floors;
  std::optional<Forgetting> forgetting;
  std::vector<Example> examples;
  double seconds = 0;
  double peak_memory_mb = 0;
};

/// Numbers that do not exist (NaN) are written as null.
Json to_json(const Results& results);
/// Checks every type, range and size; members that are not known are ignored. Throws Error that names `where` and the
/// member. A null number is read as NaN.
Results results_from_json(const Json& value, const std::string& where);

/// Writes results.json: one object, or a list where there are several.
void write_results(const std::filesystem::path& path, const std::vector<Results>& results);
/// Reads either form; at least one result.
std::vector<Results> read_results(const std::filesystem::path& path);
/// The same for the content of a file; `where` is named in errors.
std::vector<Results> parse_results(std::string_view text, const std::string& where);

}  // namespace attune

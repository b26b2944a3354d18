#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/json.h"
#include "attune/evaluation/measurement.h"
#include "attune/evaluation/study_plan.h"

namespace attune {

/// One run on one test set.
struct StudyScore {
  std::string test;
  std::string column;  // of the table
  Role role = Role::kTarget;
  std::string dataset;
  std::int64_t count = 0;
  Metrics metrics;
  std::vector<NamedAccuracy> groups;  // seen and held-out concepts, where the data tells them
  std::vector<ReliabilityBin> reliability;
  double zero_shot = 0;                  // accuracy of the data set's own template on the same pictures
  std::map<std::string, double> floors;  // accuracy by group, where there are any
};

struct StudyRun {
  std::string name;      // of its folder
  std::string method;    // label
  std::string training;  // name of its training set
  std::vector<std::string> sources;
  std::optional<int> shots;  // none where nothing is learned
  std::uint64_t seed = 1;
  std::string split;  // hash of what it learned from
  std::int64_t training_pictures = 0;
  std::int64_t validation_pictures = 0;
  double seconds = 0;
  std::string error;  // why there are no scores; empty where there are
  std::vector<StudyScore> scores;
};

struct StudiedMethod {
  std::string label;
  std::string method;
  Json config;  // without shots, draw, domains and classes, which the study sets
};

/// Answers of the best method over all seeds and over all test sets with the same classes.
struct StudyConfusion {
  std::string method;  // label
  std::optional<int> shots;
  std::vector<std::string> tests;
  std::vector<std::string> classes;
  std::vector<std::vector<std::int64_t>> counts;  // [C][C], row: label, column: answer
};

/// A learned token and the word that it is nearest to.
struct StudyToken {
  std::string place;       // tensor of the adapter, and whose token it is where not all share it
  std::int64_t token = 0;  // from 0
  double length = 0;
  std::string word;
  double cosine = 0;
};

/// The learned tokens of one run of a method.
struct StudyWords {
  std::string method;  // label
  std::string run;
  std::vector<StudyToken> tokens;
  std::int64_t left_out = 0;  // tokens beyond those
};

/// What study.json holds.
struct StudyRecord {
  std::string protocol;
  std::string model;
  std::string pretrained;  // hash of the weights
  std::string version;
  std::string command;
  std::vector<std::string> datasets;
  std::string draw;
  std::vector<int> shots;
  std::vector<std::uint64_t> seeds;
  std::vector<StudiedMethod> methods;
  std::vector<StudyRun> runs;
  std::vector<StudyConfusion> confusions;  // of the best method; empty in studies of earlier versions
  std::vector<StudyWords> words;           // empty in studies of earlier versions
};

Json to_json(const StudyRecord& study);
/// Checks every type and range. Throws Error that names `where` and the member.
StudyRecord study_from_json(const Json& value, const std::string& where);

/// The file that makes a folder a study.
std::filesystem::path study_file(const std::filesystem::path& folder);
StudyRecord read_study(const std::filesystem::path& folder);

}  // namespace attune

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attune/data/splits.h"

namespace attune {

enum class Protocol {
  kFewShot,       // train and test on the same classes (methods 7.1)
  kBaseToNew,     // train on the first half of the classes, test on both halves (methods 7.2)
  kCrossDataset,  // train on the first data set, test on the others (methods 7.3)
  kDgMulti,       // leave one domain out (methods 2.5)
  kDgSingle,      // train on one domain, test on each of the others (methods 2.5)
  kDgCross,       // train on all domains of the first data set, test on the others (methods 2.5)
};
/// "few-shot", "base-to-new", "cross-dataset", "dg-multi", "dg-single" or "dg-cross". Throws UsageError on another
/// name.
Protocol protocol_named(std::string_view name);
std::string_view name_of(Protocol protocol);
/// Whether a protocol asks for domains that training has not seen.
bool generalises_domains(Protocol protocol);

/// What a study asks for, beside its data sets and methods.
struct StudyDesign {
  Protocol protocol = Protocol::kFewShot;
  std::vector<int> shots = {16};  // training pictures a class, in DG protocols a class and domain; 0: all
  std::vector<std::uint64_t> seeds = {1};
  DrawRule draw = DrawRule::kKeyed;
  std::uint64_t division_seed = 1;   // of the division of data sets without parts: the same for all seeds
  std::vector<std::string> targets;  // DG: the domains that are held out; empty: each in turn
};

/// What one run learns from. It holds no sample of a test set.
struct TrainingSet {
  std::string name;                  // such as "emoji-dg.to-fluent"
  Dataset data;                      // train and val parts only
  std::vector<std::string> sources;  // domains trained on; empty where the protocol does not choose any
  int shots = 0;
  std::string classes = "all";  // all or base
  std::string hash;             // split_hash(data)
};

/// What a test set says in the table. A source is shown but no part of an average.
enum class Role { kTarget, kBase, kNew, kSource };
std::string_view name_of(Role role);
/// Throws Error that names `where`.
Role role_named(std::string_view name, const std::string& where);

/// What is measured at the end. Nothing of it reaches training.
struct TestSet {
  std::string name;    // such as "fluent"
  std::string column;  // of the table; test sets of one column are averaged
  Role role = Role::kTarget;
  Dataset data;             // its test part is measured; its classes and template name the answers
  std::size_t dataset = 0;  // the data set it comes from
  std::string rule;         // in words
  std::string hash;         // split_hash(data)
};

struct PlannedRun {
  std::string name;  // of its folder, unique in the study
  std::size_t method = 0;
  std::size_t training = 0;
  std::uint64_t seed = 1;
  std::vector<std::size_t> tests;
};

struct StudyPlan {
  StudyDesign design;
  std::vector<TrainingSet> trainings;
  std::vector<TestSet> tests;
  std::vector<PlannedRun> runs;  // seeds innermost, then shots, methods, training sets
};

/// What planning must know of a method.
struct MethodName {
  std::string label;   // letters, digits, '.', '_', '+', '-'
  bool learns = true;  // false: one run serves all shots and seeds
};

/// Lists the runs of a study. Reads no picture. Few-shot protocols take the parts of the data set, or divide it
/// 50/20/30; a val part that shares pictures with the test part is not used. DG protocols take train and val, or divide
/// 70/30, and test on every picture of the target, whatever its part. Validation is drawn as draw_few_shot does; with
/// all samples and no val part, a fifth of the training part is taken. Throws UsageError on a design that the data sets
/// cannot serve, duplicate names, and no methods, shots or seeds.
StudyPlan plan_study(const StudyDesign& design, const std::vector<Dataset>& datasets,
                     const std::vector<MethodName>& methods);

}  // namespace attune

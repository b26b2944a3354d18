#include "attune/evaluation/study_plan.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::array<std::pair<Protocol, std::string_view>, 6> kProtocols = {
    {{Protocol::kFewShot, "few-shot"},
     {Protocol::kBaseToNew, "base-to-new"},
     {Protocol::kCrossDataset, "cross-dataset"},
     {Protocol::kDgMulti, "dg-multi"},
     {Protocol::kDgSingle, "dg-single"},
     {Protocol::kDgCross, "dg-cross"}}};
constexpr std::array<std::pair<Role, std::string_view>, 4> kRoles = {
    {{Role::kTarget, "target"}, {Role::kBase, "base"}, {Role::kNew, "new"}, {Role::kSource, "source"}}};

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '+' || c == '-';
}

/// A name as a part of a folder's name.
std::string plain(std::string name) {
  for (char& c : name) c = is_plain(c) ? c : '_';
  return name;
}

void check_names(const std::vector<Dataset>& datasets, const std::vector<MethodName>& methods) {
  std::set<std::string> seen;
  for (const Dataset& dataset : datasets) {
    if (!seen.insert(plain(dataset.name)).second)
      throw UsageError(fmt::format("data: expected data sets of different names, found \"{}\" twice", dataset.name));
  }
  seen.clear();
  for (const MethodName& method : methods) {
    if (method.label.empty() || !std::all_of(method.label.begin(), method.label.end(), is_plain)) {
      throw UsageError(fmt::format("methods: expected a label of letters, digits, '.', '_', '+' and '-', found \"{}\"",
                                   method.label));
    }
    if (!seen.insert(method.label).second) {
      throw UsageError(fmt::format(
          "methods: expected a label of its own for each, found \"{0}\" twice; write LABEL={0}:...", method.label));
    }
  }
}

void check_design(const StudyDesign& design, const std::vector<Dataset>& datasets,
                  const std::vector<MethodName>& methods) {
  const std::string_view name = name_of(design.protocol);
  const bool crosses = design.protocol == Protocol::kCrossDataset || design.protocol == Protocol::kDgCross;
  if (datasets.size() < (crosses ? 2 : 1)) {
    throw UsageError(fmt::format("data: {} expects {}, found {}", name,
                                 crosses ? "two data sets or more, the first to train on" : "a data set",
                                 datasets.size()));
  }
  if (methods.empty() || design.shots.empty() || design.seeds.empty())
    throw UsageError("study: expected at least one method, one number of shots and one seed");
  for (const int shots : design.shots) {
    if (shots < 0) throw UsageError(fmt::format("shots: expected at least 0, found {}", shots));
  }
  if (std::set(design.shots.begin(), design.shots.end()).size() != design.shots.size())
    throw UsageError("shots: expected each number once");
  const bool holds_out = design.protocol == Protocol::kDgMulti || design.protocol == Protocol::kDgSingle;
  if (!design.targets.empty() && !holds_out)
    throw UsageError(fmt::format("targets: expected with dg-multi and dg-single only, found with {}", name));
  if (design.draw == DrawRule::kCoop && generalises_domains(design.protocol))
    throw UsageError(fmt::format("draw: expected keyed with {}, which draws in each domain, found coop", name));
  for (const Dataset& dataset : datasets) {
    if (holds_out && dataset.domains.size() < 2) {
      throw UsageError(fmt::format("data: {} expects data sets with domains (domain/class/picture), found {} ({})",
                                   name, dataset.name, dataset.layout));
    }
  }
  check_names(datasets, methods);
}

/// The data set with train, val and test parts, divided where it has none.
Dataset parted(const Dataset& dataset, const StudyDesign& design) {
  const bool domains = generalises_domains(design.protocol);
  Dataset parts = dataset;
  if (!dataset.all.empty())
    parts = divide(dataset, domains ? Division::kSeventyThirty : Division::kHalfTrain, design.division_seed);
  if (domains) return parts;
  if (parts.test.empty()) {
    throw UsageError(fmt::format("{}: {} expects a test part, found train {}, val {}, test none", dataset.name,
                                 name_of(design.protocol), parts.train.size(), parts.val.size()));
  }
  std::set<std::filesystem::path> tested;
  for (const Sample& sample : parts.test) tested.insert(sample.path);
  if (std::any_of(parts.val.begin(), parts.val.end(), [&](const Sample& one) { return tested.contains(one.path); }))
    parts.val.clear();
  std::erase_if(parts.train, [&](const Sample& one) { return tested.contains(one.path); });
  return parts;
}

/// The training set that `shots` and `seed` draw from the train and val parts of some domains.
TrainingSet drawn(const Dataset& parts, const StudyDesign& design, const std::vector<std::string>& sources, int shots,
                  std::uint64_t seed) {
  TrainingSet set;
  set.data = sources.empty() ? parts : keep_domains(parts, sources);
  set.data.test.clear();
  set.data.all.clear();
  if (set.data.train.empty())
    throw UsageError(fmt::format("{}: expected training pictures, found none{}", parts.name,
                                 sources.empty() ? "" : fmt::format(" in {}", fmt::join(sources, ", "))));
  if (shots > 0) {
    set.data = draw_few_shot(set.data, {shots, seed, design.draw, generalises_domains(design.protocol)});
  } else if (set.data.val.empty()) {
    set.data = divide(set.data, Division::kCarveVal, design.division_seed);
  }
  set.sources = sources;
  set.shots = shots;
  if (design.protocol == Protocol::kBaseToNew) {
    set.classes = "base";
    set.data = take_half(set.data, ClassHalf::kBase);
  }
  set.hash = split_hash(set.data);
  return set;
}

/// Every picture of some domains (none named: of all), whatever its part, each once.
std::vector<Sample> every_picture(const Dataset& dataset, const std::vector<std::string>& domains) {
  const Dataset kept = domains.empty() ? dataset : keep_domains(dataset, domains);
  std::vector<Sample> pictures;
  std::set<std::filesystem::path> seen;
  for (const Sample& sample : samples_of(kept, "all")) {
    if (seen.insert(sample.path).second) pictures.push_back(sample);
  }
  return pictures;
}

TestSet test_set(std::string name, Role role, Dataset data, std::vector<Sample> samples, std::size_t dataset,
                 std::string rule) {
  TestSet set{std::move(name), "", role, std::move(data), dataset, std::move(rule), ""};
  set.column = set.name;
  set.data.train.clear();
  set.data.val.clear();
  set.data.all.clear();
  set.data.test = std::move(samples);
  if (set.data.test.empty()) throw UsageError(fmt::format("{}: expected pictures to test on, found none", set.name));
  set.hash = split_hash(set.data);
  return set;
}

class Planner {
 public:
  Planner(const StudyDesign& design, const std::vector<Dataset>& datasets, const std::vector<MethodName>& methods)
      : datasets_(datasets), methods_(methods) {
    plan_.design = design;
  }

  StudyPlan plan() && {
    switch (plan_.design.protocol) {
      case Protocol::kFewShot:
      case Protocol::kBaseToNew:
        for (std::size_t d = 0; d < datasets_.size(); ++d) within_dataset(d);
        break;
      case Protocol::kCrossDataset:
      case Protocol::kDgCross:
        across_datasets();
        break;
      case Protocol::kDgMulti:
      case Protocol::kDgSingle:
        for (std::size_t d = 0; d < datasets_.size(); ++d) across_domains(d);
        break;
    }
    return std::move(plan_);
  }

 private:
  void within_dataset(std::size_t d) {
    const Dataset& dataset = datasets_[d];
    const Dataset parts = parted(dataset, plan_.design);
    if (plan_.design.protocol == Protocol::kFewShot) {
      const std::size_t test = add(test_set(dataset.name, Role::kTarget, parts, parts.test, d, "test part"));
      return add_runs(plain(dataset.name), parts, {}, {test});
    }
    const Dataset base = take_half(parts, ClassHalf::kBase), fresh = take_half(parts, ClassHalf::kNew);
    const std::size_t on_base =
        add(test_set(dataset.name + " base", Role::kBase, base, base.test, d, "test part, base classes"));
    plan_.tests.back().column = dataset.name;
    const std::size_t on_new =
        add(test_set(dataset.name + " new", Role::kNew, fresh, fresh.test, d, "test part, new classes"));
    plan_.tests.back().column = dataset.name;
    add_runs(plain(dataset.name), parts, {}, {on_base, on_new});
  }

  void across_datasets() {
    const Dataset parts = parted(datasets_[0], plan_.design);
    const bool domains = generalises_domains(plan_.design.protocol);
    std::vector<std::size_t> tests;
    if (!domains) tests.push_back(add(test_set(datasets_[0].name, Role::kSource, parts, parts.test, 0, "test part")));
    for (std::size_t d = 1; d < datasets_.size(); ++d) {
      const Dataset& dataset = datasets_[d];
      tests.push_back(add(domains ? test_set(dataset.name, Role::kTarget, dataset, every_picture(dataset, {}), d, "all")
                                  : tested_part(d)));
    }
    add_runs(plain(datasets_[0].name), parts, {}, tests);
  }

  TestSet tested_part(std::size_t d) {
    const Dataset parts = parted(datasets_[d], plan_.design);
    return test_set(datasets_[d].name, Role::kTarget, parts, parts.test, d, "test part");
  }

  void across_domains(std::size_t d) {
    const Dataset& dataset = datasets_[d];
    const Dataset parts = parted(dataset, plan_.design);
    const std::string before = datasets_.size() > 1 ? dataset.name + "/" : "";
    std::vector<TestSet> tests;
    for (const std::string& target : plan_.design.targets.empty() ? dataset.domains : plan_.design.targets) {
      tests.push_back(
          test_set(before + target, Role::kTarget, dataset, every_picture(dataset, {target}), d, "all pictures"));
    }
    const auto domain_of = [&](const TestSet& test) { return test.name.substr(before.size()); };
    if (plan_.design.protocol == Protocol::kDgMulti) {
      for (const TestSet& test : tests) {
        const std::string name = plain(dataset.name) + ".to-" + plain(domain_of(test));
        add_runs(name, parts, others(dataset, domain_of(test)), {add(test)});
      }
      return;
    }
    for (const std::string& source : dataset.domains) {
      std::vector<std::size_t> of_source;
      for (const TestSet& test : tests) {
        if (domain_of(test) == source) continue;
        of_source.push_back(add(test));
        plan_.tests.back().column = before + "from " + source;
      }
      if (!of_source.empty()) add_runs(plain(dataset.name) + ".from-" + plain(source), parts, {source}, of_source);
    }
  }

  static std::vector<std::string> others(const Dataset& dataset, const std::string& target) {
    std::vector<std::string> names;
    std::copy_if(dataset.domains.begin(), dataset.domains.end(), std::back_inserter(names),
                 [&](const std::string& name) { return name != target; });
    return names;
  }

  std::size_t add(TestSet test) {
    plan_.tests.push_back(std::move(test));
    return plan_.tests.size() - 1;
  }

  /// The training sets of one number of shots: one a seed, or one for all where nothing is drawn.
  std::vector<std::size_t> add_trainings(const std::string& name, const Dataset& parts,
                                         const std::vector<std::string>& sources, int shots) {
    std::vector<std::size_t> places;
    for (const std::uint64_t seed : plan_.design.seeds) {
      if (shots > 0 || places.empty()) {
        plan_.trainings.push_back(drawn(parts, plan_.design, sources, shots, seed));
        plan_.trainings.back().name = name;
      }
      places.push_back(plan_.trainings.size() - 1);
    }
    return places;
  }

  void add_runs(const std::string& name, const Dataset& parts, const std::vector<std::string>& sources,
                const std::vector<std::size_t>& tests) {
    const StudyDesign& design = plan_.design;
    std::vector<std::vector<std::size_t>> trainings;  // [shots][seeds]
    for (const int shots : design.shots) trainings.push_back(add_trainings(name, parts, sources, shots));
    for (std::size_t m = 0; m < methods_.size(); ++m) {
      const std::string begin = methods_[m].label + "." + name;
      if (!methods_[m].learns) {
        plan_.runs.push_back({begin, m, trainings[0][0], design.seeds[0], tests});
        continue;
      }
      for (std::size_t k = 0; k < design.shots.size(); ++k) {
        const std::string shots = design.shots[k] == 0 ? "all" : fmt::format("{}-shots", design.shots[k]);
        for (std::size_t s = 0; s < design.seeds.size(); ++s) {
          plan_.runs.push_back({fmt::format("{}.{}.seed-{}", begin, shots, design.seeds[s]), m, trainings[k][s],
                                design.seeds[s], tests});
        }
      }
    }
  }

  const std::vector<Dataset>& datasets_;
  const std::vector<MethodName>& methods_;
  StudyPlan plan_;
};

}  // namespace

Protocol protocol_named(std::string_view name) {
  std::vector<std::string_view> known;
  for (const auto& [protocol, word] : kProtocols) {
    if (word == name) return protocol;
    known.push_back(word);
  }
  throw UsageError(fmt::format("protocol: expected one of {}, found \"{}\"", fmt::join(known, ", "), name));
}

std::string_view name_of(Protocol protocol) {
  return kProtocols[static_cast<std::size_t>(protocol)].second;
}

bool generalises_domains(Protocol protocol) {
  return protocol == Protocol::kDgMulti || protocol == Protocol::kDgSingle || protocol == Protocol::kDgCross;
}

std::string_view name_of(Role role) {
  return kRoles[static_cast<std::size_t>(role)].second;
}

Role role_named(std::string_view name, const std::string& where) {
  for (const auto& [role, word] : kRoles) {
    if (word == name) return role;
  }
  throw Error(fmt::format("{}: expected the role target, base, new or source, found \"{}\"", where, name));
}

StudyPlan plan_study(const StudyDesign& design, const std::vector<Dataset>& datasets,
                     const std::vector<MethodName>& methods) {
  check_design(design, datasets, methods);
  return Planner(design, datasets, methods).plan();
}

}  // namespace attune
